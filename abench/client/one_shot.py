"""One connection per request, as webbench does."""

import time

from abench.client.connection import Connection

_clock = time.perf_counter_ns


class OneShot(Connection):
    """One connection per request."""

    __slots__ = ()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle `nbytes` that the transport has read into the buffer."""
        expected = self._expected
        if not (
            self._awaits_first_byte
            and nbytes == expected.length
            and self._starts_with(expected.head)
        ):
            self._parse(nbytes)
            return
        elapsed = _clock() // 1000 - self.sent_at
        if elapsed > self._pool.limit_us:
            self._fail_late(elapsed)
            return
        self._record(elapsed)
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
            self._pool.recorder.success(0, elapsed)
        self._close()
