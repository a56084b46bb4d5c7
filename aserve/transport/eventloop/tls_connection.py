"""One client on a port on which TLS is spoken: from its handshake on, and by http as well."""

import asyncio
from typing import cast

from aserve.cache.keys import ConnectionFacts
from aserve.http.messages import Request
from aserve.http.request_target import without_tls_scheme
from aserve.tls.presented import ServerEnd
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.internal_errors import isolate_errors


class TlsConnection(Connection):
    """A connection that is known, and counted, before it can be served."""

    __slots__ = ("_handshake_ticks", "_is_made", "_scheme", "_server_name")

    def __init__(self, host: ConnectionHost) -> None:
        super().__init__(host)
        self._is_made = False
        self._handshake_ticks = 0
        self._scheme, self._server_name = "http", ""

    def accepted(self, transport: asyncio.Transport) -> None:
        """Count a client, or close it at once: no 503 is worth a handshake."""
        self._transport = transport
        if self._limiter.admit(self) is not Decision.ACCEPT:
            transport.abort()

    # Called by the event loop.

    @isolate_errors
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve a client, by TLS or without."""
        self._is_made = True
        self._transport = cast("asyncio.Transport", transport)
        if isinstance(end := transport.get_extra_info("ssl_object"), ServerEnd):
            self._scheme, self._server_name = "https", end.asked_name
        self._use_host(self._host)

    # Called by the server.

    def _check_deadlines(self) -> None:
        if self._is_made:
            super()._check_deadlines()
            return
        self._handshake_ticks += 1
        if self._handshake_ticks >= self._limits.header_timeout:
            self._transport.abort()

    # What TLS changes in requests.

    def _connection_facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.client, self._scheme, self._server_name)

    def _dispatch(self, request: Request) -> None:
        super()._dispatch(self._as_asked(request))

    def _begin_handling(self, request: Request) -> None:
        super()._begin_handling(self._as_asked(request))

    def _as_asked(self, request: Request) -> Request:
        """Return a request that names its URL as the site knows it, if it has come by TLS."""
        return without_tls_scheme(request) if self._scheme == "https" else request
