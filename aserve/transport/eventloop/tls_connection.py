"""One client on a port on which TLS is spoken: from its handshake on, and by http as well."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from aserve.cache.keys import ConnectionFacts
from aserve.http.messages import Request
from aserve.http.request_target import without_tls_scheme
from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.internal_errors import isolate_errors

_MAX_BUFFERED = 65_536  # bytes of a response; the loops would buffer 512 KiB of each slow client


class TlsConnection(Connection):
    """A connection that is known, and counted, before it has its transport.

    handshake: stands for the transport until then. asked_name: returns the name that the client
    has asked for.
    """

    __slots__ = ("_asked_name", "_is_made", "_scheme", "_server_name")

    def __init__(
        self,
        host: ConnectionHost,
        handshake: asyncio.Transport,
        asked_name: Callable[[ssl.SSLObject], str],
    ) -> None:
        super().__init__(host)
        self._transport = handshake
        self._asked_name = asked_name
        self._is_made = False
        self._scheme, self._server_name = "http", ""

    def admit(self) -> bool:
        """Count a client; return whether there is room for it. No 503 is worth a handshake."""
        if clients := self._host.proxied_clients:
            self.is_shared = clients.trusts(self.peer, self._socket_family())
        if self._limiter.admit(self) is Decision.ACCEPT:
            return True
        self._host.remove(self)
        return False

    def end_handshake(self) -> None:
        """Forget a client that has got no transport."""
        if not self._is_made:
            self._host.remove(self)

    # Called by the event loop.

    @isolate_errors
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve a client, by TLS or without."""
        self._is_made = True
        was_closed = self._transport.is_closing()
        self._transport = cast("asyncio.Transport", transport)
        if ssl_object := transport.get_extra_info("ssl_object"):
            self._scheme, self._server_name = "https", self._asked_name(ssl_object)
            self._transport.set_write_buffer_limits(high=_MAX_BUFFERED)
        if was_closed:
            self._transport.abort()
        self._use_host(self._host)

    def eof_received(self) -> bool:
        """Answer what the client sent; with TLS no half of a connection stays open (asyncio)."""
        return super().eof_received() and self._transport.can_write_eof()

    # What TLS changes in requests.

    def _connection_facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.peer, self._scheme, self._server_name)

    def _dispatch(self, request: Request) -> None:
        super()._dispatch(self._as_asked(request))

    def _begin_handling(self, request: Request) -> None:
        super()._begin_handling(self._as_asked(request))

    def _as_asked(self, request: Request) -> Request:
        """Return a request that names its URL as the site knows it, if it has come by TLS."""
        return without_tls_scheme(request) if self._scheme == "https" else request
