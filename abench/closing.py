"""Connections for one request each, webbench's way."""

import time

from abench.client import Connection

_clock = time.perf_counter_ns


class Closing(Connection):
    """A connection for each request."""

    __slots__ = ()

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece of a reply from the transport."""
        answer = self._answer
        if not (self._fresh and nbytes == answer.length and self._begins(answer.head)):
            self._read(nbytes)
            return
        took = _clock() // 1000 - self.asked_at
        if took > self._pool.limit_us:
            self._fail_late(took)
            return
        self._note(took)
        self.asked_at = 0
        self._close()  # and from its end the next is opened


class Heedless(Closing):
    """A connection for each request, closed as soon as that is sent: webbench's --force.

    A request that was sent is a success, of no status; what becomes of it nobody knows.
    """

    __slots__ = ()

    def _send(self) -> None:
        self._write(self._request)
        took = _clock() // 1000 - self.asked_at
        self.asked_at = 0
        if self._warming:
            self._leave_out()
        else:
            self._pool.recorder.success(0, took)
        self._close()
