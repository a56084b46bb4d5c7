"""One connection per request, as webbench does."""

import time

from abench.client.connection import Connection
from abench.client.connection_pool import ConnectionPool

_clock = time.perf_counter_ns


class OneShot(Connection):
    """One connection per request, which is timed from when that was open as well."""

    __slots__ = ("_record_request",)

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._record_request = pool.recorder.phases.request.append

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""
        expected = self._expected
        if self._is_excluded or not (
            self._awaits_first_byte
            and nbytes == expected.length
            and self._starts_with(expected.head)
        ):
            self._parse(nbytes)
            return
        now = _clock() // 1000
        elapsed = now - self.sent_at
        if elapsed > self._pool.limit_us:
            self._fail_late(elapsed)
            return
        self._record(elapsed)
        self._record_request(now - self._opened_at_us)
        self.sent_at = 0
        self._close()  # connection_lost opens the next


class FireAndForget(OneShot):
    """One connection per request, closed as soon as the request is sent: webbench's --force.

    A request that was sent is a success without a status; its response is never read.
    """

    __slots__ = ()

    def _send(self) -> None:
        self._write(self._request)
        elapsed = _clock() // 1000 - self.sent_at
        self.sent_at = 0
        if self._is_excluded:
            self._record_excluded()
        else:
            self._count_sent(len(self._request))
            for recorder in (self._pool.recorder, *self._parts):
                recorder.success(0, elapsed)
        self._close()
