"""A body whose sender is not known yet: none of it is taken before the login is checked."""

from collections.abc import Callable

from aserve.http.messages import BodySink, HttpError, Request, Response, close_streams
from aserve.http1.limits import UNLIMITED

Open = Callable[[], "BodySink | Response"]
"""Checks the login, which may wait. Returns what gets the body, or the response without it."""


class LoginSink:
    """Checks a login, and then passes the body on. open_inner raises HttpError for a wrong one."""

    may_wait = True
    max_size = UNLIMITED
    """The sink that it is for has its own, which is checked here: it is only known after begin."""

    def __init__(self, request: Request, open_inner: Open) -> None:
        self._request = request
        self._open_inner = open_inner
        self._inner: BodySink | None = None
        self._size = 0

    def begin(self) -> None:
        """Check the login. Raises HttpError, also for a body that is not wanted."""
        opened = self._open_inner()
        if isinstance(opened, Response):
            close_streams(opened.body)
            allow = tuple(header for header in opened.headers if header[0] == "Allow")
            status = max(opened.status, 400)
            raise HttpError(status, "A body is not wanted here.", allow, close=True)
        self._inner = opened
        self._check_size(int(self._request.headers.get("content-length", "0")))
        opened.begin()

    def write(self, data: bytes) -> None:
        """Pass on the next bytes. Raises HttpError."""
        self._size += len(data)
        self._check_size(self._size)
        self._sink.write(data)

    def respond(self) -> Response:
        """Return the response to the whole body. Raises HttpError."""
        return self._sink.respond()

    def close(self) -> None:
        """Release everything."""
        if self._inner:
            self._inner.close()

    @property
    def _sink(self) -> BodySink:
        if self._inner is None:
            raise RuntimeError("begin was not called")
        return self._inner

    def _check_size(self, size: int) -> None:
        if size > self._sink.max_size:
            raise HttpError(413, "The request body is too large.")
