"""One client on a port on which TLS is spoken: from its handshake on, and by http as well."""

import asyncio

from aserve.cache.keys import ConnectionFacts
from aserve.http.messages import Request
from aserve.http.request_target import without_tls_scheme
from aserve.tls.presented import ServerEnd
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.eventloop.early_connection import EarlyConnection


class TlsConnection(EarlyConnection):
    """A connection that is known, and counted, before its handshake.

    pending: stands for its transport while the header of a proxy is waited for; then it is counted
    already. peer: the address at the other end.
    """

    __slots__ = ("_handshake_ticks", "_is_counted", "_scheme", "_server_name")

    gets_503 = False  # it is not worth a handshake

    def __init__(self, host: ConnectionHost, pending: asyncio.Transport | None, peer: str) -> None:
        super().__init__(host, pending, peer)
        self._is_counted = pending is not None
        self._handshake_ticks = 0
        self._scheme, self._server_name = "http", ""

    def accepted(self, transport: asyncio.Transport) -> None:
        """Count a client, or close it at once. The handshake is what comes next."""
        was_closed = self._use_transport(transport)
        self._handshake_ticks = 0
        if was_closed or not (self._is_counted or self.admit()):
            transport.abort()

    # Called by the server.

    def _check_deadlines(self) -> None:
        if self._is_made:
            super()._check_deadlines()
            return
        self._handshake_ticks += 1
        if self._handshake_ticks >= self._limits.header_timeout:
            self._transport.abort()

    # What TLS changes in requests.

    def _on_transport(self) -> None:
        if isinstance(end := self._transport.get_extra_info("ssl_object"), ServerEnd):
            self._scheme, self._server_name = "https", end.asked_name

    def _connection_facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.peer, self._scheme, self._server_name)

    def _dispatch(self, request: Request) -> None:
        super()._dispatch(self._as_asked(request))

    def _begin_handling(self, request: Request) -> None:
        super()._begin_handling(self._as_asked(request))

    def _as_asked(self, request: Request) -> Request:
        """Return a request that names its URL as the site knows it, if it has come by TLS."""
        return without_tls_scheme(request) if self._scheme == "https" else request
