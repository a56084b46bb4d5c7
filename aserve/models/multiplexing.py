"""I/O multiplexing: one thread asks which sockets are ready, then reads, answers and writes."""

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from aserve.models.admissions import NO_ROOM, bounds_of
from aserve.models.conversation import Conversation, House
from aserve.models.faults import report
from aserve.models.owner import Observe, TellRemaining
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_MOST_ACCEPTED = 64  # connections in one turn, before those that are open have theirs

Ready = Iterable[tuple[int, bool]]
"""Descriptors for which something can be done, and whether that is reading."""


class Poller(Protocol):
    """One way to ask the kernel what is ready."""

    most: int
    """Descriptors from this number on cannot be watched; 0: all can."""
    repeats: bool
    """Whether what is still ready is told again; else whoever stops early must remember it."""

    def watch(self, descriptor: int, *, reads: bool, writes: bool) -> None:
        """Begin to watch a descriptor, or watch it for something else."""

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; it is still open."""

    def wait(self, seconds: float) -> Ready:
        """Return what is ready, after at most so long."""


class Multiplexer:
    """One thread's share of a site: its connections and the one place where it waits."""

    def __init__(
        self, poller: Poller, site: Site, limits: Limits, observe: Observe | None = None
    ) -> None:
        self._house = House(site, limits, observe, bounds_of(limits, poller.most))
        self._poller = poller
        self._talks: dict[int, Conversation] = {}
        self._wishes: dict[int, tuple[bool, bool]] = {}
        self._calls: dict[int, Callable[[], None]] = {}  # for what is watched besides
        self._again: set[int] = set()  # turned and not at their end, as far as is known
        self._listeners: dict[int, socket.socket] = {}
        self._resting: set[int] = set()  # listeners by which nobody is let in for a moment
        self._stopping = False
        self._deadline = float("inf")

    def run(
        self,
        listeners: Sequence[socket.socket],
        orders: tuple[int, ...],
        grace: float,
        tell: TellRemaining | None = None,
    ) -> None:
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
        """
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._grace, self._tell = grace, tell
        for descriptor in (*self._listeners, *orders):
            os.set_blocking(descriptor, False)
            self._poller.watch(descriptor, reads=True, writes=False)
        ticked = time.monotonic()
        while not self._is_done():
            self._turn(orders)
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        self._cut_off()

    def _turn(self, orders: tuple[int, ...]) -> None:
        ready = dict.fromkeys(self._again, True)
        self._again.clear()
        ready.update(self._poller.wait(0 if ready else self._patience()))
        for descriptor, readable in ready.items():
            if talk := self._talks.get(descriptor):
                self._go_on(descriptor, talk, readable=readable)
            elif call := self._calls.get(descriptor):
                call()
            elif descriptor in orders:
                self._obey(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _patience(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MOST_ACCEPTED):
            try:
                connection, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._poller.forget(listener.fileno())  # until the next tick
                    self._resting.add(listener.fileno())
                    return
                continue  # whoever waited has gone
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                talk = self._converse(connection, client)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                report(error, client)
                connection.close()
            else:
                self._welcome(talk)
        if not self._poller.repeats:
            self._again.add(listener.fileno())

    def _welcome(self, talk: Conversation) -> None:
        if talk.is_over:
            return
        descriptor = talk.socket.fileno()
        if self._poller.most and descriptor >= self._poller.most:
            talk.reject(503, "This server cannot watch more connections.")
            talk.abort()
            return
        self._talks[descriptor] = talk
        self._again.add(descriptor)  # its request may be there already
        self._settle(descriptor, talk)

    def _converse(self, connection: socket.socket, client: str) -> Conversation:
        return Conversation(connection, client, self._house)

    def _go_on(self, descriptor: int, talk: Conversation, *, readable: bool) -> None:
        went = talk.turn(readable=readable)
        if talk.is_over:
            self._drop(descriptor)
            return
        if talk.has_more or (went and not self._poller.repeats):
            self._again.add(descriptor)
        self._settle(descriptor, talk)

    def _wish(self, descriptor: int, talk: Conversation) -> None:
        wish = talk.reads, talk.writes
        if self._wishes.get(descriptor) != wish:
            self._wishes[descriptor] = wish
            self._poller.watch(descriptor, reads=wish[0], writes=wish[1])

    def _drop(self, descriptor: int) -> None:
        """Forget a connection that is over. A closed socket has left epoll by itself."""
        self._talks.pop(descriptor, None)
        self._again.discard(descriptor)
        if self._wishes.pop(descriptor, None):
            self._poller.forget(descriptor)

    def _obey(self, order: int) -> None:
        try:
            if os.read(order, 1):
                self._again.add(order)  # a second one may be behind it, and no edge tells of that
            else:
                self._poller.forget(order)  # whoever gave orders is gone: that is one, too
        except BlockingIOError:
            return
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._house.guests.shut()
        for descriptor, listener in self._listeners.items():
            self._poller.forget(descriptor)
            self._again.discard(descriptor)
            listener.close()
        self._listeners.clear()
        self._resting.clear()
        for descriptor, talk in list(self._talks.items()):
            talk.finish()
            self._settle(descriptor, talk)
        if self._tell:
            self._tell(self._house.responses, len(self._talks))

    def _tick(self) -> None:
        for descriptor, talk in list(self._talks.items()):
            talk.tick()
            self._settle(descriptor, talk)
        while self._resting:
            self._poller.watch(self._resting.pop(), reads=True, writes=False)

    def _settle(self, descriptor: int, talk: Conversation) -> None:
        """Watch a connection for what it wants now, or forget it."""
        if not talk.is_over:
            try:
                self._wish(descriptor, talk)
            except Exception as error:  # noqa: BLE001 - as when the kernel can watch no more
                talk.fail(error)
                talk.abort()
        if talk.is_over:
            self._drop(descriptor)

    def _is_done(self) -> bool:
        return self._stopping and (not self._talks or time.monotonic() >= self._deadline)

    def _cut_off(self) -> None:
        for descriptor, talk in list(self._talks.items()):
            talk.abort()
            self._drop(descriptor)
