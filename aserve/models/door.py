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

from aserve.models.admissions import NO_ROOM
from aserve.models.faults import report
from aserve.models.owner import Observe
from aserve.site.recall import Recall
from aserve.wire.limits import UNLIMITED

_STREAM = int(socket.SOCK_STREAM)
_SILENT_S = 1
_AT_ONCE = 32  # guests, then the others on the loop have their turn
_MOST_READ = 65_536  # octets
_MOST_WAITING = 16  # guests that do not take their reply in one go: their descriptors are spare
_PAUSE_S = 0.1  # until somebody may have left, when there is no descriptor for one more

Accept = Callable[[], tuple[int, tuple[str, int]]]
"""Takes who is next in line: its descriptor and its address."""


class Door:
    """A listening socket on an event loop.

    welcome: makes the protocol of a guest, of what was read from it; stall_time: seconds that a
    guest may take to let the rest of a reply in.
    """

    def __init__(
        self,
        listener: socket.socket,
        recall: Recall | None,
        observe: Observe | None,
        welcome: Callable[[bytes], asyncio.Protocol],
        stall_time: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        # socket.accept without what it makes of that in Python, a quarter of what a guest cost.
        self._accept: Accept = listener._accept  # type: ignore[attr-defined]  # noqa: SLF001
        self._family = int(listener.family)
        self._recall = recall
        self._observe = observe
        self._welcome = welcome
        self._stall_time = stall_time
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, backlog: int) -> None:
        """Let guests in from now on; backlog: how many may stand in line."""
        self._listener.setblocking(False)
        # Who has come and not yet asked stays in line, for a second at most: tcp(7).
        with suppress(OSError):  # a kernel that does not know it lets everybody in
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _SILENT_S)
        self._listener.listen(backlog)
        self._watch()

    def close(self) -> None:
        """Let nobody in any more; more than once is harmless."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    async def settle(self) -> None:
        """Wait for those that are just being let in, or served."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def abandon(self) -> None:
        """Give them up."""
        for task in self._tasks:
            task.cancel()

    def _watch(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._let_in)

    def _let_in(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                descriptor, (address, *_) = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._pause()
                    return
                continue  # who was next in line has gone
            guest = socket.SocketType(self._family, _STREAM, 0, descriptor)
            try:
                self._look_after(guest, address)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                report(error, address)
                guest.close()

    def _pause(self) -> None:
        """Leave them in line for a moment: whoever asks again at once spins."""
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_PAUSE_S, self._watch)

    def _look_after(self, guest: socket.SocketType, address: str) -> None:
        """Serve a guest at the door, or let it in."""
        octets, recall = b"", self._recall
        if recall:
            try:
                octets = guest.recv(_MOST_READ, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
            except OSError:
                guest.close()
                return
            now = time.time()
            if known := recall.get(octets, now):
                kept, request = known
                # Those who are waited for here do not count as connections.
                if kept.closes and kept.is_one_write and len(self._tasks) < _MOST_WAITING:
                    self._send(guest, kept.octets)
                    if self._observe:
                        self._observe(address, request, kept.status, kept.content, now)
                    return
        self._begin(self._admit(_for_the_loop(guest), octets))

    def _send(self, guest: socket.SocketType, octets: bytes) -> None:
        """Send a guest its reply and let it go."""
        try:
            sent = guest.send(octets, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:  # it has not waited
            sent = len(octets)
        if sent < len(octets):
            self._begin(self._send_rest(_for_the_loop(guest), octets[sent:]))
        else:
            guest.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(self, guest: socket.socket, octets: bytes) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._welcome(octets), guest)
        except OSError:  # it has gone
            guest.close()
        except asyncio.CancelledError:
            guest.close()
            raise
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            report(error, "-")
            guest.close()

    async def _send_rest(self, guest: socket.socket, octets: bytes) -> None:
        try:
            async with asyncio.timeout(None if self._stall_time == UNLIMITED else self._stall_time):
                await self._loop.sock_sendall(guest, octets)
        except OSError:  # it has gone, or does not read; TimeoutError is one
            pass
        finally:
            guest.close()


def _for_the_loop(guest: socket.SocketType) -> socket.socket:
    """Return what asyncio takes for a socket; not the C type alone, which costs less."""
    known = socket.socket(fileno=guest.detach())
    known.setblocking(False)
    return known
