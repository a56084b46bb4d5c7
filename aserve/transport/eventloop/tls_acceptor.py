"""Accepts connections of clients that speak TLS, and of those that do not know that they have to.

The first byte tells: of a TLS handshake it is 22 (RFC 8446 section 5.1), which no method begins
with. A client that speaks plain http gets a connection as well, whose site redirects it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aserve.http1.limits import Limits
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.early_connection import EarlyConnection, PendingTransport
from aserve.transport.eventloop.read_readiness import wait_readable
from aserve.transport.internal_errors import log_internal_error

_HANDSHAKE = b"\x16"
_MAX_TIMEOUT_S = 86_400  # in place of none at all, which the loops cannot be told


class TlsAcceptor(Acceptor):
    """A listening socket on an event loop, on which TLS is spoken.

    context: what handshakes begin with. new_connection: makes the connection of a client from what
    stands for its transport, and its address. limits: those on the time of handshakes and of the
    end of TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        new_connection: Callable[[asyncio.Transport, str], EarlyConnection],
        limits: Limits,
    ) -> None:
        super().__init__(listener, None, None, _no_protocol, limits.transfer_timeout)
        self._context = context
        self._new_connection = new_connection
        self._timeout = min(limits.header_timeout, _MAX_TIMEOUT_S)
        self._closing_timeout = limits.lingering_timeout
        self._handshakes: set[asyncio.Task[None]] = set()

    async def _make_connection(self, client: socket.socket, received: bytes, address: str) -> None:  # noqa: ARG002 - none is read before
        """Begin the handshake, which nothing waits for: the connection is known already."""
        pending: Any = PendingTransport(client)
        connection = self._new_connection(pending, address)
        if connection.admit():
            self._spawn(self.serve_early(client, connection), self._handshakes)
        else:
            client.close()

    async def serve_early(self, client: socket.socket, connection: EarlyConnection) -> None:
        """Give a client its transport, once it has said which protocol it speaks."""
        try:
            async with asyncio.timeout(self._timeout):
                first = await self._first_byte(client)
            if first == _HANDSHAKE:
                await self._loop.connect_accepted_socket(
                    lambda: connection,
                    client,
                    ssl=self._context,
                    ssl_handshake_timeout=self._timeout,
                    ssl_shutdown_timeout=self._closing_timeout,
                )
            elif first:
                await self._loop.connect_accepted_socket(lambda: connection, client)
            else:
                client.close()
        except OSError:  # the client has gone, takes too long, or speaks no TLS that we speak
            client.close()
        except asyncio.CancelledError:
            client.close()
            raise
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, "-")
            client.close()
        finally:
            connection.end_waiting()

    async def _first_byte(self, client: socket.socket) -> bytes:
        """Wait for the first byte, which stays in the socket; b"" if there will be none."""
        while True:
            try:
                return client.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                pass
            await wait_readable(self._loop, client)


def _no_protocol(_received: bytes, _address: str) -> asyncio.Protocol:
    raise AssertionError("connections are made by new_connection")
