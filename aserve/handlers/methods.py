"""The methods of HTTP/1.1: a table of their handlers, and the handlers of those without files.

RFC 9110 section 9.3 defines eight. All are in the table, the disabled ones with None.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from aserve.handlers.handler import AcceptBody, Handler, RequestContext
from aserve.handlers.writing.areas import WriteMode
from aserve.http.messages import (
    BodySink,
    Headers,
    HttpError,
    Request,
    Response,
    Takeover,
)
from aserve.http.request_target import TargetPath, parse_host_port, parse_path

MethodTable = Mapping[str, Handler | None]
"""The handler of each method; None: the method is disabled, 405. Any other method gets 501."""

AllowedMethods = Callable[[Request, RequestContext], Collection[str]]
"""Returns the methods of a request's target.

Raises BlockingIOError where context.may_wait is False and it would have to wait.
"""


_OF_WEBDAV = ("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")
"""The methods of RFC 4918: known, and so 405 and not 501, where any of them is answered."""

_DAV_HEADERS: Headers = (("DAV", "1"), ("MS-Author-Via", "DAV"))
"""Class 1, without locks (section 18.1). Windows looks for the second one."""


class Writers(NamedTuple):
    """The methods that change files.

    allowed: what each target has, of all methods. mode_in: returns what may be done to the entries
    of a directory, None for nothing. wrap: returns a handler that answers what has paths of its
    own, uploads in parts, and passes on all else to the one that it is given.
    """

    handlers: Mapping[str, Handler | None]
    allowed: AllowedMethods
    mode_in: Callable[[TargetPath], WriteMode | None]
    wrap: Callable[[Handler], Handler]


def method_table(  # noqa: PLR0913 - each is an option
    files: Handler,
    *,
    allow_trace: bool = False,
    connect: Handler | None = None,
    decode_slashes: bool = False,
    propfind: Handler | None = None,
    writing: Writers | None = None,
) -> MethodTable:
    """Return the table of methods for a site whose GET and HEAD are answered by files.

    connect: answers CONNECT, if that is enabled. decode_slashes: whether %2F
    in a path separates segments. propfind: answers PROPFIND, if WebDAV clients are to read.
    writing: the methods that change files, None for none.
    """
    table: dict[str, Handler | None] = {
        "GET": files,
        "HEAD": files,
        "OPTIONS": None,
        "TRACE": _trace(decode_slashes=decode_slashes) if allow_trace else None,
        "POST": None,
        "PUT": None,
        "DELETE": None,
        "CONNECT": connect,
        **(dict.fromkeys(_OF_WEBDAV) | {"PROPFIND": propfind} if propfind else {}),
        **(writing.handlers if writing else {}),
    }
    enabled = [name for name, handler in table.items() if handler or name == "OPTIONS"]
    allowed = writing.allowed if writing else fixed_methods(enabled)
    has_dav = propfind is not None
    table["OPTIONS"] = Options(allowed, decode_slashes=decode_slashes, has_dav=has_dav)
    return table


def _trace(*, decode_slashes: bool) -> Handler:
    from aserve.handlers.trace import Trace

    return Trace(decode_slashes=decode_slashes)


def fixed_methods(methods: Collection[str]) -> AllowedMethods:
    """Return what says of every target that it has these methods."""
    return lambda _request, _context: methods


def allow_header(methods: Collection[str]) -> tuple[str, str]:
    """Return the Allow header for the enabled methods."""
    return "Allow", ", ".join(methods)


class MethodDispatcher:
    """Passes each request to the handler of its method.

    allowed: the methods of each target; None for those of the table.
    """

    def __init__(self, methods: MethodTable, allowed: AllowedMethods | None = None) -> None:
        self._methods = methods
        enabled = [name for name, handler in methods.items() if handler]
        self._allowed = allowed or fixed_methods(enabled)
        takes_bodies = any(hasattr(handler, "accept_body") for handler in methods.values())
        self.accept_body: AcceptBody | None = self._accept_body if takes_bodies else None

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response of the method's handler: 501 if it is unknown, 405 if disabled."""
        if request.method not in self._methods:
            raise HttpError(501, "This method is not supported.")
        handler = self._methods[request.method]
        if handler is None:
            allow = allow_header(self._allowed(request, context))
            raise HttpError(405, "This method is not allowed.", (allow,))
        return handler.handle(request, context)

    def _accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        handler = self._methods.get(request.method)
        accept_body: AcceptBody | None = getattr(handler, "accept_body", None)
        return accept_body(request, context) if accept_body else None


class Options:
    """Answers OPTIONS, for one target and for the server as a whole (9.3.7).

    has_dav: whether WebDAV clients are told that they can read.
    """

    def __init__(
        self, allowed: AllowedMethods, *, decode_slashes: bool = False, has_dav: bool = False
    ) -> None:
        self._allowed = allowed
        self._decode_slashes = decode_slashes
        self._has_dav = has_dav

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the methods of the target."""
        if request.target != "*":
            parse_path(request.target, decode_slashes=self._decode_slashes)
        allow = allow_header(self._allowed(request, context))
        if self._has_dav:  # every such server answers 200, and some clients look for it
            return Response(200, (allow, *_DAV_HEADERS), length=0)
        return Response(204, (allow,))


class Connect:
    """Answers CONNECT: a tunnel to one of the allowed addresses, each "host:port" (9.3.6).

    open_tunnel: returns the tunnel to a host and a port.
    """

    def __init__(
        self, allowed: Collection[str], open_tunnel: Callable[[str, int], Takeover]
    ) -> None:
        self._open_tunnel = open_tunnel
        self._allowed = frozenset(filter(None, map(parse_host_port, allowed)))

    def handle(self, request: Request, context: RequestContext) -> Response:  # noqa: ARG002 - Handler
        """Return the response that the tunnel takes over from."""
        address = parse_host_port(request.target)
        if address is None:
            raise HttpError(400, "The target of CONNECT must be a host and a port.")
        if address not in self._allowed:
            raise HttpError(403, "A tunnel to this address is not allowed.")
        return Response(200, takeover=self._open_tunnel(*address))
