"""The METHODS table: the eight methods of HTTP/1.1, those switched off included (RFC 9110 9.3)."""

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

# RFC 9110 section 9.3.8: what is likely to be a secret is not echoed. Nobody can list the names of
# all secrets, so these are the headers that hold none: those that a proxy on the way changes, and
# those that say what the client can take.
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
    """Answer TRACE: the head comes back as it arrived, without what may be secret (9.3.8).

    A target that would be refused otherwise is refused here: one with a password in it is no http
    URL (4.2.4), and is not echoed.
    """
    parse_path(request.target, decode_slashes=context.decode_slashes)
    body = _NOT_ECHOED.sub("", request.head).encode("latin-1")
    fields = (("Content-Type", "message/http"), ("Cache-Control", "no-store"), NOSNIFF)
    return Response(200, fields, (body,), len(body))


def connect(
    request: Request,
    finder: ResourceFinder,  # noqa: ARG001 - a METHODS row
    context: RequestContext,  # noqa: ARG001
    allowed: Collection[HostPort],
) -> Response:
    """Answer CONNECT: a tunnel, to one of the places that were allowed (9.3.6)."""
    place = parse_host_port(request.target)
    if place is None:
        raise HttpError(400, "CONNECT names a host and a port, and nothing else.")
    if place not in allowed:
        raise HttpError(403, "There is no tunnel to this place.")
    return Response(200, tunnel=place)


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
"""None is known and switched off: 405. What is not in the table is not known: 501."""


def enabled_methods(*, traces: bool, tunnels: Collection[str]) -> MethodTable:
    """Return the table with TRACE on, and CONNECT to each "host:port" of tunnels."""
    methods = dict(METHODS)
    if traces:
        methods["TRACE"] = trace
    if tunnels:
        allowed = frozenset(place for text in tunnels if (place := parse_host_port(text)))
        methods["CONNECT"] = partial(connect, allowed=allowed)
    return methods
