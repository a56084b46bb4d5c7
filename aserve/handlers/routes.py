"""Paths that a program answers itself, beside the files of its site."""

from collections.abc import Callable, Mapping
from functools import partial

from aserve.handlers.handler import UPLOADS, AcceptBody, Handler, RequestContext
from aserve.http.header_changes import sent_error
from aserve.http.messages import (
    REASON_PHRASES,
    BodySink,
    Headers,
    HttpError,
    Request,
    Response,
    close_streams,
)
from aserve.http.origins import is_preflight
from aserve.http.path_globs import compile_glob
from aserve.http.request_target import decoded_path


class Routes:
    """Passes requests to the handlers of a program by their paths, and all others on.

    handlers: by globs of paths, of which the first that matches counts, whatever the method is.
    They may wait, so an event loop has a thread call them. A header of theirs that would end a
    response early, or has a line break in it, is an error of the program: 500 and a line in the
    log. others: the handler of the site. is_guarded: whether requests come with a login. No handler
    of a program gets then the only ones without it, preflights (WHATWG Fetch, 4.8), nor those
    about uploads in parts, which ask for another right.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        others: Handler,
        *,
        decode_slashes: bool = False,
        is_guarded: bool = False,
    ) -> None:
        self._handlers = [(compile_glob(glob).fullmatch, own) for glob, own in handlers.items()]
        self._others = others
        self._decode_slashes = decode_slashes
        self._is_guarded = is_guarded

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return what gets the body of a request, None to discard it."""
        own = self._find(request)
        accept_body: AcceptBody | None = getattr(own or self._others, "accept_body", None)
        sink = accept_body(request, context) if accept_body else None
        return _CheckedSink(sink) if own and sink else sink

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response of the handler of the path."""
        handler = self._find(request)
        if not handler:
            return self._others.handle(request, context)
        if not context.may_wait:
            raise BlockingIOError
        return _checked(partial(handler.handle, request, context))

    def _find(self, request: Request) -> Handler | None:
        if self._is_guarded and is_preflight(request):
            return None
        path = decoded_path(request.target, decode_slashes=self._decode_slashes)
        if self._is_guarded and UPLOADS in path:
            return None
        return next(
            (handler for matches, handler in self._handlers if path and matches(path)), None
        )


class _CheckedSink:
    """A sink of a program, whose response is checked."""

    def __init__(self, sink: BodySink) -> None:
        self.max_size = sink.max_size
        self.may_wait = sink.may_wait
        self.begin = sink.begin
        self.write = sink.write
        self.close = sink.close
        self._sink = sink

    def respond(self) -> Response:
        """Return the response to the whole body. Raises HttpError."""
        return _checked(self._sink.respond)


def _checked(respond: Callable[[], Response]) -> Response:
    """Return a response that can be sent. Raises TypeError and ValueError, which say why not."""
    try:
        response = respond()
    except HttpError as error:
        _check_headers(error.headers)
        raise
    if not isinstance(response, Response):
        raise TypeError(f"a handler returns a Response, and not {response!r}")
    try:
        _check(response)
    except (TypeError, ValueError):
        close_streams(response.body)
        raise
    return response


def _check(response: Response) -> None:
    if response.takeover:  # which says itself what becomes of the connection
        return
    if response.status < 200 or response.status not in REASON_PHRASES:
        raise ValueError(f"{response.status} is no status of a final response")
    if any(isinstance(part, str) for part in response.body):
        raise TypeError("the parts of a body are bytes, and not str")
    _check_headers(response.headers)


def _check_headers(headers: Headers) -> None:
    for name, value in headers:
        if error := sent_error(name, value):
            raise ValueError(error)
