"""Receives the header of a proxy on each connection, before HTTP or TLS begins there.

It is taken from the socket, and nothing after it: neither TLS nor the acceptor, which answers from
the cache, knows of it. Most headers are there when their connection is accepted. A connection that
waits for its header counts for no client, and is closed, reloaded and limited as any other.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from aserve.http1.limits import Limits
from aserve.transport.eventloop.acceptor import Acceptor
from aserve.transport.eventloop.early_connection import EarlyConnection, PendingTransport
from aserve.transport.eventloop.read_readiness import wait_readable
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.proxy_header import MAX_HEADER_SIZE, ProxyHeaderError
from aserve.transport.proxy_protocol import HeaderReader, ProxyProtocol

# As plain numbers: those of enum take calls in Python.
_STREAM = int(socket.SOCK_STREAM)
_PEEK, _TAKE = int(socket.MSG_PEEK | socket.MSG_DONTWAIT), int(socket.MSG_DONTWAIT)
_MAX_TIMEOUT_S = 86_400  # in place of none at all


class HeaderReceiver:
    """Gets the connections of an acceptor first, and returns them with the clients that are named.

    family: of the acceptor's socket. new_connection: makes a connection from what stands for its
    transport, and the address of its peer. limits: those on the time of a header.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        family: int,
        protocol: ProxyProtocol,
        new_connection: Callable[[asyncio.Transport, str], EarlyConnection],
        limits: Limits,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._acceptor = acceptor
        self._family = family
        self._protocol = protocol
        self._new_connection = new_connection
        self._timeout = min(limits.header_timeout, _MAX_TIMEOUT_S)
        self._waiting: set[asyncio.Task[None]] = set()

    def receive(self, descriptor: int, peer: str) -> None:
        """Have a connection served as that of the client which its header names; raises nothing.

        It is closed without a word if there is no header, or none that can be trusted.
        """
        sock = socket.SocketType(self._family, _STREAM, 0, descriptor)
        try:
            if not self._protocol.accepts(peer):
                sock.close()
                return
            reader = self._protocol.new_reader(peer)
            client = take_header(sock, reader)
            if client is None:
                self._wait(socket.socket(fileno=sock.detach()), reader, peer)
                return
        except (OSError, ProxyHeaderError):
            sock.close()
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, peer)
            sock.close()
        else:
            # The cache of the acceptor knows nothing of what a proxy says in a request.
            is_proxy = self._protocol.trusts(client)
            serve = self._acceptor.connect if is_proxy else self._acceptor.serve
            serve(sock.detach(), client)

    def _wait(self, sock: socket.socket, reader: HeaderReader, peer: str) -> None:
        """Count a connection, and wait for its header, if there is room for it."""
        sock.setblocking(False)
        pending: Any = PendingTransport(sock)
        connection = self._new_connection(pending, peer)
        if not connection.admit(names_client=True):
            sock.close()
            return
        task = self._loop.create_task(self._serve_later(sock, reader, connection))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _serve_later(
        self, sock: socket.socket, reader: HeaderReader, connection: EarlyConnection
    ) -> None:
        try:
            if connection.serve_client(await self._receive_header(sock, reader)):
                await self._acceptor.serve_early(sock, connection)
            else:
                sock.close()
        except (OSError, ProxyHeaderError):  # a TimeoutError as well
            sock.close()
        except asyncio.CancelledError:
            sock.close()
            raise
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, connection.client)
            sock.close()
        finally:
            connection.end_waiting()

    async def _receive_header(self, sock: socket.socket, reader: HeaderReader) -> str:
        """Wait for the client that the header names. Bytes that trickle in win no time."""
        try:
            async with asyncio.timeout(self._timeout):
                while (client := take_header(sock, reader)) is None:
                    await wait_readable(self._loop, sock)
                return client
        except TimeoutError:
            reader.time_out()
            raise


def take_header(sock: socket.SocketType, reader: HeaderReader) -> str | None:
    """Take a header from a socket, and nothing after it; return the client that it names.

    None if the header is not complete yet: what there is of it is taken. Raises ProxyHeaderError,
    and OSError if the client has gone.
    """
    while True:
        try:
            data = sock.recv(MAX_HEADER_SIZE, _PEEK)
        except BlockingIOError:
            return None
        named = reader.feed(data)
        sock.recv(len(data) - len(named.rest) if named else len(data), _TAKE)
        if named:
            return named.client
