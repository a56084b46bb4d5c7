"""Accepts connections, and answers some of them at once.

A client that opens a connection for each request (HTTP/1.0, webbench, ab without -k) sends its
request as soon as it is connected. If the response is cached, the acceptor sends it: no transport
is made, no descriptor polled, no address looked up. All other clients get a connection, which
starts with the data that was read.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aserve.cache.response_cache import ResponseCache
from aserve.http1.limits import UNLIMITED
from aserve.transport.accepting import accept_ready
from aserve.transport.internal_errors import log_internal_error
from aserve.transport.observers import ResponseObserver

if TYPE_CHECKING:
    from aserve.transport.eventloop.early_connection import EarlyConnection

_STREAM = int(socket.SOCK_STREAM)
_DEFER_ACCEPT_S = 1
_READ_SIZE = 65_536  # bytes
# Clients that do not take their response in one write. Their descriptors are reserved ones.
_MAX_PENDING_SENDS = 16
_PAUSE_S = 0.1  # without accepting, when descriptors have run out

Accept = Callable[[], tuple[int, Any]]
"""Accepts a connection; returns its descriptor and the client's address."""


class Acceptor:
    """A listening socket on an event loop.

    protocol_factory: makes the protocol of a connection from the data that was read before and the
    address of its client.
    transfer_timeout: seconds that a client may take to read the rest of a response.
    """

    def __init__(
        self,
        listener: socket.socket,
        cache: ResponseCache | None,
        observer: ResponseObserver | None,
        protocol_factory: Callable[[bytes, str], asyncio.BaseProtocol],
        transfer_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        # socket.accept without its wrapper in Python, which was a quarter of a connection's cost.
        self._accept: Accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._family = int(listener.family)
        self._cache = cache
        self._observer = observer
        self._protocol_factory = protocol_factory
        self._transfer_timeout = transfer_timeout
        self._connecting: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self.wrap_early: Callable[[EarlyConnection], asyncio.BaseProtocol] | None = None
        """Returns the protocol of a connection that is known already; None if it is its own."""
        self.on_accept: Callable[[int, str], None] | None = None
        """What gets each connection in place of serve: its descriptor and the address of its peer.

        Raises nothing."""

    def start(self, backlog: int) -> None:
        """Start accepting. backlog: how many connections may wait to be accepted."""
        self._listener.setblocking(False)
        # A client that has sent no request yet is accepted later, after a second at most: tcp(7).
        with suppress(OSError):  # without this option every client is accepted at once
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_ACCEPT_S)
        self._listener.listen(backlog)
        self._resume_accepting()

    def close(self) -> None:
        """Stop accepting. Calling it again has no effect."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_connected(self) -> None:
        """Wait until each client that was accepted has its connection: a few turns of the loop."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    async def wait_closed(self) -> None:
        """Wait for connections that are just being made, and for responses that are being sent."""
        if tasks := self._connecting | self._sending:
            await asyncio.wait(tasks)

    def abort(self) -> None:
        """Cancel the responses that are being sent.

        Connections are made to the end, in a few turns. When that is cancelled, uvloop calls
        connection_made all the same, and never connection_lost.
        """
        for task in self._sending:
            task.cancel()

    def _resume_accepting(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(
                self._listener,
                accept_ready,
                self._accept,
                self.on_accept or self.serve,
                self._pause_accepting,
            )

    def _pause_accepting(self) -> None:
        """Stop accepting for a moment: to retry at once would spin."""
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE_S, self._resume_accepting)

    def serve(self, descriptor: int, address: str) -> None:
        """Answer a client from the cache and close, or make a connection for it. Raises nothing.

        address: the client's.
        """
        client = socket.SocketType(self._family, _STREAM, 0, descriptor)
        data, cache = b"", self._cache
        try:
            if cache:
                try:
                    data = client.recv(_READ_SIZE, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    pass
                except OSError:
                    client.close()
                    return
                now, is_full = time.time(), len(self._sending) >= _MAX_PENDING_SENDS
                if hit := cache.lookup_head(data, now):
                    cached, request = hit
                    # What is sent here does not count as a connection, hence the limit.
                    if cached.closes and cached.is_one_write and not is_full:
                        self._send_and_close(client, cached.data)
                        if observe := self._observer:
                            observe(address, request, cached.status, cached.content_length, now)
                        return
            connecting = self._make_connection(_as_python_socket(client), data, address)
            self._spawn(connecting, self._connecting)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, address)
            client.close()

    def connect(self, descriptor: int, address: str) -> None:
        """Make a connection for a client, without a look into the cache. address: the client's."""
        client = socket.SocketType(self._family, _STREAM, 0, descriptor)
        connecting = self._make_connection(_as_python_socket(client), b"", address)
        self._spawn(connecting, self._connecting)

    def _send_and_close(self, client: socket.SocketType, data: bytes) -> None:
        """Send a response and close the socket."""
        try:
            sent = client.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:  # the client has gone
            sent = len(data)
        if sent < len(data):
            self._spawn(self._send_rest(_as_python_socket(client), data[sent:]), self._sending)
        else:
            client.close()

    def _spawn(
        self, coroutine: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]
    ) -> None:
        task = self._loop.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def serve_early(self, client: socket.socket, connection: "EarlyConnection") -> None:
        """Give its transport to a connection that is known already."""
        protocol = self.wrap_early(connection) if self.wrap_early else connection
        await self._loop.connect_accepted_socket(lambda: protocol, client)

    async def _make_connection(self, client: socket.socket, received: bytes, address: str) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol_factory(received, address), client
            )
        except OSError:  # the client has gone
            client.close()
        except asyncio.CancelledError:
            client.close()
            raise
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            log_internal_error(error, "-")
            client.close()

    async def _send_rest(self, client: socket.socket, data: bytes) -> None:
        try:
            async with asyncio.timeout(
                None if self._transfer_timeout == UNLIMITED else self._transfer_timeout
            ):
                await self._loop.sock_sendall(client, data)
        except OSError:  # the client has gone or does not read; TimeoutError is an OSError
            pass
        finally:
            client.close()


def _as_python_socket(client: socket.SocketType) -> socket.socket:
    """Return the socket as a socket.socket, which asyncio needs; the C type costs less."""
    sock = socket.socket(fileno=client.detach())
    sock.setblocking(False)
    return sock
