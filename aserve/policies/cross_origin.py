"""Pages of other sites change nothing: their browser says where a request comes from."""

from aserve.handlers.handler import Handler, RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.policies.policy import Policy

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"})
"""Methods that change no file. CONNECT is none of them by name, but no page can send it."""

_OWN = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of a page of this server, and of a person who typed the address."""


class CrossOrigin(Policy):
    """Rejects requests that would change something and that a page of another site has sent.

    Browsers send Origin or Sec-Fetch-Site with each of those, and no page can change them. A
    program that sends neither is no browser, and acts for its user alone. A page of the same
    site, but of another host or port, is another server's: it is rejected as well.
    """

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that rejects such requests, and their bodies before they are read."""
        return _SameOriginHandler(handler)


class _SameOriginHandler:
    """Passes on what no page of another site has sent."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._accept_inner = getattr(handler, "accept_body", None)

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return the handler's sink. Raises HttpError 403."""
        check_origin(request)
        sink: BodySink | None = None
        if self._accept_inner:
            sink = self._accept_inner(request, context)
        return sink

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the handler's response. Raises HttpError 403."""
        check_origin(request)
        return self._handler.handle(request, context)


def check_origin(request: Request) -> None:
    """Raise HttpError 403 for a request of another site's page that would change something."""
    if request.method in SAFE_METHODS:
        return
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    is_foreign = origin is not None and not _is_own(origin, request.headers.get("host", ""))
    if is_foreign or not (site is None or site.strip().lower() in _OWN):
        raise HttpError(403, "Only pages of this server may change its files.", close=True)


def _is_own(origin: str, host: str) -> bool:
    """Tell whether an Origin is this server's: its host and port are those of the request.

    The scheme is not compared, since a proxy in front may add TLS. "null" is foreign: sandboxed
    pages have it, and so have files that were uploaded here.
    """
    scheme, separator, authority = origin.strip().lower().partition("://")
    return bool(separator) and scheme in {"http", "https"} and authority == host.strip().lower()
