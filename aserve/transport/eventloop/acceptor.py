"""Where connections come in, and where some of them are served.

A client that has a connection for each request (HTTP/1.0, webbench, ab without -k) asks as soon
as it is there. Where its reply is remembered, it gets it here: no transport is made, no
descriptor watched, no address looked up. Everybody else is let in with what was read.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress

from aserve.cache.response_cache import ResponseCache
from aserve.http1.limits import UNLIMITED
from aserve.transport.connection_limiter import RESOURCE_ERRNOS
from aserve.transport.eventloop.connection_host import ResponseObserver
from aserve.transport.internal_errors import log_internal_error

_STREAM = int(socket.SOCK_STREAM)
_DEFER_ACCEPT_S = 1
_MAX_ACCEPTS = 32  # guests, then the others on the loop have their turn
_READ_SIZE = 65_536  # octets
_MAX_PENDING_SENDS = (
    16  # guests that do not take their reply in one go: their descriptors are spare
)
_PAUSE_S = 0.1  # until somebody may have left, when there is no descriptor for one more

Accept = Callable[[], tuple[int, tuple[str, int]]]
"""Takes who is next in line: its descriptor and its address."""


class Acceptor:
    """A listening socket on an event loop.

    welcome: makes the protocol of a guest, of what was read from it; stall_time: seconds that a
    guest may take to let the rest of a reply in.
    """

    def __init__(
        self,
        listener: socket.socket,
        cache: ResponseCache | None,
        observer: ResponseObserver | None,
        protocol_factory: Callable[[bytes], asyncio.Protocol],
        transfer_timeout: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        # socket.accept without what it makes of that in Python, a quarter of what a guest cost.
        self._accept: Accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._family = int(listener.family)
        self._cache = cache
        self._observer = observer
        self._protocol_factory = protocol_factory
        self._transfer_timeout = transfer_timeout
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, backlog: int) -> None:
        """Let guests in from now on; backlog: how many may stand in line."""
        self._listener.setblocking(False)
        # Who has come and not yet asked stays in line, for a second at most: tcp(7).
        with suppress(OSError):  # a kernel that does not know it lets everybody in
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_ACCEPT_S)
        self._listener.listen(backlog)
        self._resume_accepting()

    def close(self) -> None:
        """Let nobody in any more; more than once is harmless."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def wait_closed(self) -> None:
        """Wait for those that are just being let in, or served."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def abort(self) -> None:
        """Give them up."""
        for task in self._tasks:
            task.cancel()

    def _resume_accepting(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept_ready)

    def _accept_ready(self) -> None:
        for _ in range(_MAX_ACCEPTS):
            try:
                descriptor, (address, *_) = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in RESOURCE_ERRNOS:
                    self._pause_accepting()
                    return
                continue  # who was next in line has gone
            guest = socket.SocketType(self._family, _STREAM, 0, descriptor)
            try:
                self._serve_or_hand_over(guest, address)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                log_internal_error(error, address)
                guest.close()

    def _pause_accepting(self) -> None:
        """Leave them in line for a moment: whoever asks again at once spins."""
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE_S, self._resume_accepting)

    def _serve_or_hand_over(self, client: socket.SocketType, address: str) -> None:
        """Serve a guest at the door, or let it in."""
        octets, recall = b"", self._cache
        if recall:
            try:
                octets = client.recv(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                client.close()
                return
            now = time.time()
            if known := recall.lookup_head(octets, now):
                kept, request = known
                # Those who are waited for here do not count as connections.
                if kept.closes and kept.is_one_write and len(self._tasks) < _MAX_PENDING_SENDS:
                    self._send_and_close(client, kept.data)
                    if self._observer:
                        self._observer(address, request, kept.status, kept.content_length, now)
                    return
        self._spawn(self._make_connection(_as_python_socket(client), octets))

    def _send_and_close(self, client: socket.SocketType, data: bytes) -> None:
        """Send a guest its reply and let it go."""
        try:
            sent = client.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:  # it has not waited
            sent = len(data)
        if sent < len(data):
            self._spawn(self._send_rest(_as_python_socket(client), data[sent:]))
        else:
            client.close()

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make_connection(self, client: socket.socket, received: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._protocol_factory(received), client
            )
        except OSError:  # it has gone
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
        except OSError:  # it has gone, or does not read; TimeoutError is one
            pass
        finally:
            client.close()


def _as_python_socket(client: socket.SocketType) -> socket.socket:
    """Return what asyncio takes for a socket; not the C type alone, which costs less."""
    known = socket.socket(fileno=client.detach())
    known.setblocking(False)
    return known
