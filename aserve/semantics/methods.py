"""The METHODS table: the eight methods of HTTP/1.1, those switched off included (RFC 9110 9.3)."""

import re
from collections.abc import Collection
from functools import partial

from aserve.semantics.messages import Refused, Request, Response
from aserve.semantics.respond import Find, Methods, Terms, allow, get, head
from aserve.semantics.targets import is_place, parse_path

# RFC 9110 section 9.3.8: what is likely to be a secret is not echoed.
_SENSITIVE = re.compile(
    r"(?<=\r\n)(?:authorization|cookie|proxy-authorization|[^:\r]*(?:auth|key|secret|token)[^:\r]*)"
    r":[^\r]*\r\n",
    re.IGNORECASE,
)


def options(request: Request, find: Find, terms: Terms) -> Response:  # noqa: ARG001 - a METHODS row
    """Answer OPTIONS, for one target and for the server as a whole (9.3.7)."""
    if request.target != "*":
        parse_path(request.target)
    return Response(204, (allow(terms.methods),))


def trace(request: Request, find: Find, terms: Terms) -> Response:  # noqa: ARG001 - a METHODS row
    """Answer TRACE: the request's head comes back as it arrived, without its secrets (9.3.8)."""
    body = _SENSITIVE.sub("", request.head).encode("latin-1")
    fields = (("Content-Type", "message/http"), ("Cache-Control", "no-store"))
    return Response(200, fields, (body,), len(body))


def connect(
    request: Request,
    find: Find,  # noqa: ARG001 - a METHODS row
    terms: Terms,  # noqa: ARG001
    allowed: Collection[str],
) -> Response:
    """Answer CONNECT: a tunnel, to one of the places that were allowed (9.3.6)."""
    if not is_place(request.target):
        raise Refused(400, "CONNECT names a host and a port, and nothing else.")
    if request.target.lower() not in allowed:
        raise Refused(403, "There is no tunnel to this place.")
    host, _, port = request.target.rpartition(":")
    return Response(200, tunnel=(host.strip("[]"), int(port)))


METHODS: Methods = {
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


def switched_on(*, traces: bool, tunnels: Collection[str]) -> Methods:
    """Return the table with TRACE on, and CONNECT to each "host:port" of tunnels."""
    methods = dict(METHODS)
    if traces:
        methods["TRACE"] = trace
    if tunnels:
        allowed = frozenset(place.lower() for place in tunnels)
        methods["CONNECT"] = partial(connect, allowed=allowed)
    return methods
