"""Where TLS is on: plain http leads to https, and browsers may be told to keep to it."""

import re
from collections.abc import Callable

from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import Handler, Note, RequestContext
from aserve.http.host_names import request_authority
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http.request_target import checked_origin
from aserve.policies.policy import Policy

SCHEME = "https"
_HTTP_PORT, _HTTPS_PORT = 80, 443
_AUTHORITY = re.compile(r"(?P<host>[^:]+|\[[^]]*\]):?(?P<port>[0-9]*)")
_TOKEN = re.compile(r"/\.well-known/acme-challenge/[A-Za-z0-9_-]+")
_NO_HOST = "This server speaks TLS: ask by https."


class HttpsOnly(Policy):
    """Answers http with a redirect to the same place by https.

    308 keeps the method (RFC 9110 section 15.4.9). The port stays, since both are answered on each,
    also behind a port that is mapped: but from from_port, which is there for http, it leads to
    port.

    Tokens by which authorities check who has a host are sent by http, too (RFC 8555 section 8.3).
    """

    keyed_on = KeyedOn(scheme=True, headers=frozenset({"host"}))

    def __init__(self, from_port: int | None = None, port: int | None = None) -> None:
        self._from_port = from_port
        self._suffix = "" if port == _HTTPS_PORT else f":{port}"

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that passes on only what came by TLS."""
        return _SecureHandler(handler, self._authority)

    def _authority(self, request: Request) -> str:
        """Return the host and port that are to be asked by https, "" if no host is known."""
        authority = request_authority(request)
        match = _AUTHORITY.fullmatch(authority)
        if not match or int(match["port"] or _HTTP_PORT) != self._from_port:
            return authority
        return match["host"] + self._suffix


class _SecureHandler:
    """Redirects http. authority: returns the host and port of the redirect."""

    def __init__(self, handler: Handler, authority: Callable[[Request], str]) -> None:
        self._handler = handler
        self._authority = authority
        self._accept_inner = getattr(handler, "accept_body", None)

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return the handler's sink; None for a body that came by http, which is discarded."""
        if context.scheme != SCHEME or not self._accept_inner:
            return None
        sink: BodySink | None = self._accept_inner(request, context)
        return sink

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the handler's response. Raises HttpError 308, or 400 where no URL is known."""
        if context.scheme == SCHEME or _is_token(request):
            return self._handler.handle(request, context)
        authority = self._authority(request)
        if request.method == "CONNECT" or request.target == "*" or not authority:
            raise HttpError(400, _NO_HOST, close=True)
        location = f"{SCHEME}://{authority}{checked_origin(request.target)}"
        if context.notes is not None:
            context.notes.append(Note("rule", f"308 to {location}: TLS is on"))
        raise HttpError(308, "This server speaks TLS.", (("Location", location),), close=True)


def _is_token(request: Request) -> bool:
    return request.method in {"GET", "HEAD"} and bool(_TOKEN.fullmatch(request.target))


class StrictTransportSecurity(Policy):
    """Has browsers ask by https alone for a while (RFC 6797). seconds: how long."""

    keyed_on = KeyedOn(scheme=True)

    def __init__(self, seconds: int) -> None:
        self._header = ("Strict-Transport-Security", f"max-age={seconds}")

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - Policy
        """Return a response with the header, but not by http (RFC 6797 section 7.2).

        One that a rule of the site has set stays: it may say more.
        """
        name = self._header[0].lower()
        if context.scheme != SCHEME or any(one.lower() == name for one, _ in response.headers):
            return response
        return response.with_headers((*response.headers, self._header))
