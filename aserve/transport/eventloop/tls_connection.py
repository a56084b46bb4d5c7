"""One client on a port on which TLS is spoken: from its handshake on, and by http as well."""

import asyncio
import ssl
from collections.abc import Callable

from aserve.cache.keys import ConnectionFacts
from aserve.http.messages import Request
from aserve.http.request_target import without_tls_scheme
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.eventloop.early_connection import EarlyConnection

_MAX_BUFFERED = 65_536  # bytes of a response; the loops would buffer 512 KiB of each slow client


class TlsConnection(EarlyConnection):
    """A connection that is known before its handshake, for which pending stands.

    asked_name: returns the name that the client has asked for. peer: the address at the other end.
    """

    __slots__ = ("_asked_name", "_scheme", "_server_name")

    gets_503 = False  # it is not worth a handshake

    def __init__(
        self,
        host: ConnectionHost,
        asked_name: Callable[[ssl.SSLObject], str],
        pending: asyncio.Transport,
        peer: str,
    ) -> None:
        super().__init__(host, pending, peer)
        self._asked_name = asked_name
        self._scheme, self._server_name = "http", ""

    def eof_received(self) -> bool:
        """Answer what the client sent; with TLS no half of a connection stays open (asyncio)."""
        return super().eof_received() and self._transport.can_write_eof()

    # What TLS changes in requests.

    def _on_transport(self) -> None:
        if ssl_object := self._transport.get_extra_info("ssl_object"):
            self._scheme, self._server_name = "https", self._asked_name(ssl_object)
            self._transport.set_write_buffer_limits(high=_MAX_BUFFERED)

    def _connection_facts(self) -> ConnectionFacts:
        return ConnectionFacts(self.peer, self._scheme, self._server_name)

    def _dispatch(self, request: Request) -> None:
        super()._dispatch(self._as_asked(request))

    def _begin_handling(self, request: Request) -> None:
        super()._begin_handling(self._as_asked(request))

    def _as_asked(self, request: Request) -> Request:
        """Return a request that names its URL as the site knows it, if it has come by TLS."""
        return without_tls_scheme(request) if self._scheme == "https" else request
