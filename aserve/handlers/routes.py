"""Paths that a program answers itself, beside the files of its site."""

from collections.abc import Mapping

from aserve.handlers.handler import AcceptBody, Handler, RequestContext
from aserve.http.messages import BodySink, Request, Response
from aserve.http.path_globs import compile_glob
from aserve.http.request_target import decoded_path


class Routes:
    """Passes requests to the handlers of a program by their paths, and all others on.

    handlers: by globs of paths, of which the first that matches counts, whatever the method is.
    They may wait, so an event loop has a thread call them. others: the handler of the site.
    """

    def __init__(
        self, handlers: Mapping[str, Handler], others: Handler, *, decode_slashes: bool = False
    ) -> None:
        self._handlers = [(compile_glob(glob).fullmatch, own) for glob, own in handlers.items()]
        self._others = others
        self._decode_slashes = decode_slashes

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return what gets the body of a request, None to discard it."""
        handler = self._find(request) or self._others
        accept_body: AcceptBody | None = getattr(handler, "accept_body", None)
        return accept_body(request, context) if accept_body else None

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response of the handler of the path."""
        handler = self._find(request)
        if not handler:
            return self._others.handle(request, context)
        if not context.may_wait:
            raise BlockingIOError
        return handler.handle(request, context)

    def _find(self, request: Request) -> Handler | None:
        path = decoded_path(request.target, decode_slashes=self._decode_slashes)
        return next(
            (handler for matches, handler in self._handlers if path and matches(path)), None
        )
