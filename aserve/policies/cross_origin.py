"""Pages of other sites change nothing: their browser says where a request comes from."""

from aserve.handlers.handler import Handler, RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http.origins import Origins
from aserve.policies.policy import Policy
from aserve.policies.request_origin import is_from_another_site

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "TRACE", "CONNECT"})
"""Methods that change no file. CONNECT is none of them by name, but no page can send it."""


class CrossOrigin(Policy):
    """Rejects requests that would change something and that a page of another site has sent.

    trusted: the origins of pages that may.
    """

    def __init__(self, trusted: Origins | None = None) -> None:
        self._trusted = trusted or Origins(())

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that rejects such requests, and their bodies before they are read."""
        return _SameOriginHandler(handler, self._trusted)


class _SameOriginHandler:
    """Passes on what no page of another site has sent."""

    def __init__(self, handler: Handler, trusted: Origins) -> None:
        self._handler = handler
        self._trusted = trusted
        self._accept_inner = getattr(handler, "accept_body", None)

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return the handler's sink. Raises HttpError 403."""
        self._check_origin(request)
        sink: BodySink | None = None
        if self._accept_inner:
            sink = self._accept_inner(request, context)
        return sink

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the handler's response. Raises HttpError 403."""
        self._check_origin(request)
        return self._handler.handle(request, context)

    def _check_origin(self, request: Request) -> None:
        """Raise HttpError 403 for a request of another site's page that would change something."""
        if request.method in _SAFE_METHODS or not is_from_another_site(request):
            return
        if (request.header("origin") or "") not in self._trusted:
            raise HttpError(403, "Only pages of this server may change its files.", close=True)
