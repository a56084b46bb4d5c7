"""What a server calls: the access log for each response, the terminal for a stop."""

from collections.abc import Callable
from typing import Protocol

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
        request was dispatched. truncated: whether the rest was not sent.
        """


ReportRemaining = Callable[[int, int], None]
"""Called when a server stops, with the number of responses that are still being sent and the number
of connections that are still open."""
