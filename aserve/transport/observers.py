"""What a server calls: the access log for each response, the terminal for a stop."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol, runtime_checkable

from aserve.http.messages import Request


class ResponseObserver(Protocol):
    """Called for each response, when it was sent or truncated."""

    def __call__(  # noqa: PLR0913, PLR0917 - on the hot path: no time to make an object
        self,
        client: str,
        request: Request,
        status: int,
        body_size: int,
        started_at: float,
        truncated: bool = False,
        /,
    ) -> None:
        """Record a response.

        body_size: bytes of the body that were sent. started_at: POSIX time in seconds at which the
        request was dispatched, or its body began to arrive, if a handler got it. truncated: whether
        the rest was not sent.
        """


@runtime_checkable
class SignalledObserver(ResponseObserver, Protocol):
    """An observer that wants signals of the process, where no thread of its own can wait for them.

    signals: which ones. They are blocked in all of the process.
    """

    signals: AbstractSet[int]

    def on_signal(self, number: int) -> None:
        """Handle a signal, which is no longer pending."""

    def on_exit(self, pid: int, how: str) -> None:
        """Handle the end of a process that is no client's; it may be the observer's own."""


ReportRemaining = Callable[[int, int], None]
"""Called when a server stops, with the number of responses that are still being sent and the number
of connections that are still open."""
