"""How a handler is told that its response has ended."""

import logging

from aserve.http.messages import OnEnd, Response
from aserve.transport.internal_errors import describe_exception

_logger = logging.getLogger("aserve")


class ResponseEnd:
    """Tells a handler of the end of its response when it is closed, which may wait.

    body_size: bytes of the body that were sent. is_truncated: whether the rest was not.
    """

    may_wait = True
    __slots__ = ("_body_size", "_is_truncated", "_on_end")

    def __init__(self, on_end: OnEnd, body_size: int = 0, *, is_truncated: bool = True) -> None:
        self._on_end = on_end
        self._body_size = body_size
        self._is_truncated = is_truncated

    def close(self) -> None:
        """Make the call; an error in it is logged, since no response is left that it could be."""
        try:
            self._on_end(self._body_size, self._is_truncated)
        except Exception as error:  # noqa: BLE001 - the boundary
            _logger.error("internal error: %s at the end of a response", describe_exception(error))


def end_unsent(response: Response) -> None:
    """Tell the handler of a response, if it wants to know, that none of it will be sent."""
    if response.on_end:
        ResponseEnd(response.on_end).close()
