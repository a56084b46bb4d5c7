"""The METHODS table: the eight methods of HTTP/1.1, including disabled ones (RFC 9110 9.3)."""

import re
from collections.abc import Collection
from functools import partial

from aserve.handlers.representation import (
    MethodTable,
    RequestContext,
    ResourceFinder,
    allow_header,
    get,
    head,
)
from aserve.http.messages import NOSNIFF, HttpError, Request, Response
from aserve.http.request_target import HostPort, parse_host_port, parse_path

# RFC 9110 section 9.3.8: headers that may contain secrets are not echoed. A complete list of those
# is impossible, so this is a list of harmless headers: those that proxies change, and those that
# state the client's capabilities.
_ECHOED = (
    "accept|accept-(?:charset|encoding|language)|cache-control|connection|content-(?:length|type)"
    "|date|dnt|early-data|expect|host|if-(?:match|none-match|modified-since|unmodified-since|range)"
    "|keep-alive|max-forwards|pragma|priority|range|save-data|sec-ch-ua(?:-[a-z-]+)?"
    "|sec-fetch-(?:dest|mode|site|user)|te|trailer|transfer-encoding|upgrade"
    "|upgrade-insecure-requests|user-agent|via"
)
_NOT_ECHOED = re.compile(rf"(?<=\r\n)(?!(?:{_ECHOED}):)[^\r]+\r\n", re.IGNORECASE | re.ASCII)


def options(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:  # noqa: ARG001 - a METHODS row
    """Answer OPTIONS, for one target and for the server as a whole (9.3.7)."""
    if request.target != "*":
        parse_path(request.target, decode_slashes=context.decode_slashes)
    return Response(204, (allow_header(context.methods),))


def trace(request: Request, finder: ResourceFinder, context: RequestContext) -> Response:  # noqa: ARG001 - a METHODS row
    """Answer TRACE: echo the head as received, without headers that may be secret (9.3.8).

    A target that is invalid for GET is rejected: an http URL must not contain a password (4.2.4),
    and none is echoed.
    """
    parse_path(request.target, decode_slashes=context.decode_slashes)
    body = _NOT_ECHOED.sub("", request.head).encode("latin-1")
    headers = (("Content-Type", "message/http"), ("Cache-Control", "no-store"), NOSNIFF)
    return Response(200, headers, (body,), len(body))


def connect(
    request: Request,
    finder: ResourceFinder,  # noqa: ARG001 - a METHODS row
    context: RequestContext,  # noqa: ARG001
    allowed: Collection[HostPort],
) -> Response:
    """Answer CONNECT: a tunnel to one of the allowed addresses (9.3.6)."""
    address = parse_host_port(request.target)
    if address is None:
        raise HttpError(400, "The target of CONNECT must be a host and a port.")
    if address not in allowed:
        raise HttpError(403, "A tunnel to this address is not allowed.")
    return Response(200, tunnel=address)


METHODS: MethodTable = {
    "GET": get,
    "HEAD": head,
    "OPTIONS": options,
    "TRACE": None,
    "POST": None,
    "PUT": None,
    "DELETE": None,
    "CONNECT": None,
}
"""None: the method is disabled, 405. A method that is not in the table is not supported, 501."""


def enabled_methods(*, traces: bool, tunnels: Collection[str]) -> MethodTable:
    """Return the table with TRACE enabled, and CONNECT to each "host:port" of tunnels."""
    methods = dict(METHODS)
    if traces:
        methods["TRACE"] = trace
    if tunnels:
        allowed = frozenset(address for text in tunnels if (address := parse_host_port(text)))
        methods["CONNECT"] = partial(connect, allowed=allowed)
    return methods
