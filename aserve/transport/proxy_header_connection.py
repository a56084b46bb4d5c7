"""A connection on a socket that begins with the header of a proxy, if the server expects one."""

import socket
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import Decision
from aserve.transport.socket_writer import SocketWriter

if TYPE_CHECKING:
    from aserve.transport.proxy_protocol import HeaderReader


class ProxyHeaderConnection(SocketWriter):
    """Reads the header, which says who its peer is to be taken for, before HTTP.

    Until then it is a connection of the proxy, and counts for no client.
    """

    def __init__(self, sock: socket.socket, peer: str, context: ConnectionContext) -> None:
        super().__init__(sock, peer, context)
        self._header_reader: HeaderReader | None = None
        """Set until the header has been read."""

    @abstractmethod
    def _use_peer(self) -> None:
        """Serve the next requests as those of the peer that is known now."""

    def _expect_header(self, context: ConnectionContext) -> bool:
        """Expect a header if the server does. Return False if the peer may not send one."""
        protocol = context.proxy_protocol
        if not protocol:
            return True
        self._header_reader = protocol.new_reader(self._peer)
        return protocol.accepts(self._peer)

    def _feed_header(self, reader: "HeaderReader", data: bytes) -> None:
        """Take received data that begins in the header. Empty data means end of file."""
        try:
            named = reader.feed(data)
        except ValueError:  # a ProxyHeaderError: its module is imported only if it is expected
            self.abort()
            return
        if named:
            self._header_reader = None
            if named.rest:
                self._http.receive(named.rest)
            self._serve_client(named.client)
            self._process_requests()

    def _serve_client(self, client: str) -> None:
        """Be the connection of a client that the proxy has named, if it may have one more."""
        decision = self._limiter.recount(self, partial(self._name_client, client))
        if decision is not Decision.ACCEPT:
            super()._reject_or_drop(decision)  # not as one that was rejected when it was accepted

    def _name_client(self, client: str) -> None:
        self._peer = client
        self._use_peer()
        self.is_shared = self._proxied is not None

    def _check_deadlines(self) -> None:
        reader = self._header_reader
        if not (reader and self.is_receiving):
            super()._check_deadlines()
        elif reader.expired(self._limits.header_timeout):
            self.abort()
