"""A connection that is known, and counted, before it has its transport."""

import asyncio
import socket
from contextlib import suppress
from functools import partial
from typing import Any, cast

from aserve.transport.connection_limiter import Decision
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.internal_errors import isolate_errors


class PendingTransport:
    """Stands for the transport of a connection until it has one.

    So a client counts from the moment on at which it is accepted, and whatever closes connections
    ends what comes before its transport as well.
    """

    __slots__ = ("_client", "_is_closing")

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the address of the client, or its socket, and nothing else."""
        if name == "peername":
            with suppress(OSError):  # it has gone
                return self._client.getpeername()
        return self._client if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        """Return 0: there is no response yet."""
        return 0

    def is_closing(self) -> bool:
        """Tell whether the connection has been closed."""
        return self._is_closing

    def close(self) -> None:
        """Have what waits for the client read the end of the connection."""
        self._is_closing = True
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    abort = close


class EarlyConnection(Connection):
    """A connection whose client has something else to say before HTTP.

    pending: stands for the transport until then. peer: the address at the other end.
    """

    __slots__ = ("_decision", "_is_made", "_is_waiting")

    gets_503 = True
    """Whether a client for which there is no room is told so."""

    def __init__(self, host: ConnectionHost, pending: asyncio.Transport | None, peer: str) -> None:
        super().__init__(host, peer=peer)
        if pending:
            self._transport = pending
        self._is_waiting = pending is not None  # and has no transport
        self._is_made = False  # it can be served
        self._decision = Decision.ACCEPT

    def admit(self, *, names_client: bool = False) -> bool:
        """Count the connection. Return whether to go on with it.

        names_client: whether it begins with the header of a proxy; it is no client's until then.
        """
        self.is_shared = names_client or self._is_of_proxy()
        self._decision = self._limiter.admit(self)
        return self._may_go_on()

    def serve_client(self, client: str) -> bool:
        """Be the connection of a client that a proxy has named. Return whether to go on with it."""
        self._decision = self._limiter.recount(self, partial(self._name_client, client))
        return self._may_go_on()

    def end_waiting(self) -> None:
        """Forget a client that has got no transport."""
        if self._is_waiting:
            self._host.remove(self)

    # Called by the event loop.

    @isolate_errors
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serve the client, or reject it."""
        self._is_made = True
        was_closed = self._use_transport(cast("asyncio.Transport", transport))
        self._on_transport()
        if was_closed:
            self._transport.abort()
        self._use_host(self._host)
        self._reject_or_drop(self._decision)

    def _use_transport(self, transport: asyncio.Transport) -> bool:
        """Use a transport from now on. Return whether the one before it was closed."""
        had_one = self._is_waiting or self._is_made
        was_closed = had_one and self._transport.is_closing()
        self._transport, self._is_waiting = transport, False
        return was_closed

    def _on_transport(self) -> None:
        """Note what the transport is."""

    def _may_go_on(self) -> bool:
        """Return whether the client is served, or told that it is not; forget it if not."""
        if self._decision is Decision.ACCEPT or (
            self._decision is Decision.REJECT and self.gets_503
        ):
            return True
        self.end_waiting()
        return False

    def _name_client(self, client: str) -> None:
        self._peer = client
        self.is_shared = self._is_of_proxy()

    def _is_of_proxy(self) -> bool:
        """Tell whether the peer is a trusted proxy, whose requests are those of many clients."""
        clients = self._host.proxied_clients
        return clients is not None and clients.trusts(self.peer, self._socket_family())
