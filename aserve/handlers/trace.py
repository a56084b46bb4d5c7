"""TRACE: echoes a request (RFC 9110 section 9.3.8)."""

import re

from aserve.handlers.handler import RequestContext
from aserve.http.messages import NOSNIFF, Request, Response
from aserve.http.request_target import parse_path

# Headers that may contain secrets are not echoed. A complete list of those
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


class Trace:
    """Answers TRACE: echoes the head as received, without headers that may be secret (9.3.8)."""

    def __init__(self, *, decode_slashes: bool = False) -> None:
        self._decode_slashes = decode_slashes

    def handle(self, request: Request, context: RequestContext) -> Response:  # noqa: ARG002 - Handler
        """Return the head of the request.

        A target that is invalid for GET is rejected: an http URL must not contain a password
        (4.2.4), and none is echoed.
        """
        parse_path(request.target, decode_slashes=self._decode_slashes)
        body = _NOT_ECHOED.sub("", request.head).encode("latin-1")
        headers = (("Content-Type", "message/http"), ("Cache-Control", "no-store"), NOSNIFF)
        return Response(200, headers, (body,), len(body), echoes=True)
