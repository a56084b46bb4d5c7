"""Connections for one request each, webbench's way."""

import time

from abench.client.connection import Connection

_clock = time.perf_counter_ns


class OneShot(Connection):
    """A connection for each request."""

    __slots__ = ()

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a reply from the transport."""
        answer = self._expected
        if not (
            self._awaits_first_byte and nbytes == answer.length and self._starts_with(answer.head)
        ):
            self._parse(nbytes)
            return
        took = _clock() // 1000 - self.sent_at
        if took > self._pool.limit_us:
            self._fail_late(took)
            return
        self._record(took)
        self.sent_at = 0
        self._close()  # and from its end the next is opened


class FireAndForget(OneShot):
    """A connection for each request, closed as soon as that is sent: webbench's --force.

    A request that was sent is a success, of no status; what becomes of it nobody knows.
    """

    __slots__ = ()

    def _send(self) -> None:
        self._write(self._request)
        took = _clock() // 1000 - self.sent_at
        self.sent_at = 0
        if self._is_excluded:
            self._record_excluded()
        else:
            self._pool.recorder.success(0, took)
        self._close()
