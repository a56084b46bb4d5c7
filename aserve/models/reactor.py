"""Reactor: the main thread watches for readiness only; threads of a pool read, answer and write.

EPOLLONESHOT gives a connection to one thread at a time. Once told of, it is watched no more, until
its thread is done with it and asks anew, as the last thing it does. Without that flag the kernel
would tell of the same octets again before they are read, and a second thread would be in the
middle of the first one's conversation.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from aserve.models.admissions import NO_ROOM, bounds_of
from aserve.models.conversation import Conversation, House
from aserve.models.crew import Crew
from aserve.models.faults import report
from aserve.models.owner import Observe, TellRemaining
from aserve.models.shared import SharedAdmissions, one_at_a_time
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_MOST_ACCEPTED = 64  # connections in one turn, before those that are open have theirs
_MOST_TURNS = 16  # of one connection in a row: then it lines up again behind the others


class Seat:
    """One connection, and whether a thread has it. The lock is for the moment it is given back."""

    __slots__ = ("busy", "descriptor", "due", "lock", "talk", "told", "watched")

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.descriptor = talk.socket.fileno()  # which is not known any more when it is closed
        self.busy = True  # until it is watched for the first time
        self.watched = False
        self.due = False  # a second has passed, in which it was idle
        self.told = False  # that the server stops
        self.lock = threading.Lock()


class Model:
    """One thread that watches, and a crew that does everything else."""

    once = select.EPOLLONESHOT

    def __init__(
        self,
        site: Site,
        limits: Limits,
        observe: Observe | None = None,
        threads: int = 8,
        dispatch: str = "queue",
    ) -> None:
        bounds = bounds_of(limits)
        self._house = House(site, limits, one_at_a_time(observe), bounds)
        self._house.guests = SharedAdmissions(bounds)
        self._crew: Crew[Seat] = Crew(threads, dispatch, self._serve)
        self._epoll = select.epoll()
        self._seats: dict[Seat, None] = {}
        self._at: dict[int, Seat] = {}
        self._emptied = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
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
        self._orders, self._grace, self._tell = orders, grace, tell
        for listener in listeners:
            listener.setblocking(False)
            self._epoll.register(listener, select.EPOLLIN | select.EPOLLONESHOT)
        for descriptor in (self._emptied, *orders):
            self._epoll.register(descriptor, select.EPOLLIN)
        ticked = time.monotonic()
        while not self._is_done():
            self._dispatch([descriptor for descriptor, _ in self._epoll.poll(self._patience())])
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        self._end()

    def _dispatch(self, ready: list[int]) -> None:
        """Hand each connection that is ready to the crew, then see to the rest.

        In this order: whoever is visited has no event among those which were just fetched.
        """
        for descriptor in ready:
            if seat := self._at.get(descriptor):
                seat.busy = True
                self._crew.hand(seat)
        for descriptor in ready:
            if descriptor in self._orders:
                self._obey(descriptor)
            elif listener := self._listeners.get(descriptor):
                self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_MOST_ACCEPTED):
            try:
                connection, address = listener.accept()
            except OSError as error:
                if error.errno in NO_ROOM:
                    return  # not watched any more until the next tick: it would be told of at once
                break  # nobody waits, or whoever did has gone
            client = address[0] if isinstance(address, tuple) else "-"
            try:
                talk = Conversation(connection, client, self._house)
            except Exception as error:  # noqa: BLE001 - it ends this connection alone
                report(error, client)
                connection.close()
                continue
            if not talk.is_over:
                seat = Seat(talk)
                self._seats[seat] = None
                self._at[seat.descriptor] = seat
                self._give_back(seat)
        self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    # By the crew, each seat by one thread at a time.

    def _serve(self, seat: Seat) -> None:
        """Take a connection as far as it goes without waiting."""
        talk = seat.talk
        for _ in range(_MOST_TURNS):
            if not talk.turn() or talk.has_more:
                break
        if seat.due and not talk.is_over:
            seat.due = False
            talk.tick()
        self._give_back(seat)

    def _give_back(self, seat: Seat) -> None:
        """Have a connection watched again, after which it may be any other thread's."""
        talk = seat.talk
        if self._stopping and not seat.told and not talk.is_over:
            seat.told = True
            talk.finish()
        if not talk.is_over:
            try:
                self._watch(seat)
            except Exception as error:  # noqa: BLE001 - as when the kernel can watch no more
                talk.fail(error)
                talk.abort()
        if talk.is_over:
            self._drop(seat)

    def _watch(self, seat: Seat) -> None:
        talk = seat.talk
        # What is due for another turn, has it when its socket takes octets: at once, as a rule.
        writes = talk.writes or talk.has_more
        events = self.once | talk.reads * select.EPOLLIN | writes * select.EPOLLOUT
        with seat.lock:
            seat.busy = False
            watch = self._epoll.modify if seat.watched else self._epoll.register
            seat.watched = True
            try:
                watch(seat.descriptor, events)
            except Exception:
                seat.busy = True  # it stays with this thread, which ends it
                raise

    def _drop(self, seat: Seat) -> None:
        """Forget a connection that is over. Its number may be another's by now."""
        self._seats.pop(seat, None)
        if self._stopping and not self._seats:
            os.eventfd_write(self._emptied, 1)

    # By the main thread.

    def _visit(self, seat: Seat) -> None:
        """Have a connection looked after that nobody has: what happens to it is its thread's."""
        with seat.lock:
            if seat.busy:
                return
            seat.busy, seat.watched = True, False
            with suppress(OSError):
                # No mask keeps EPOLLHUP away, epoll_ctl(2).
                self._epoll.unregister(seat.descriptor)
        self._crew.hand(seat)

    def _tick(self) -> None:
        for seat in list(self._seats):
            seat.due = True
            self._visit(seat)
        for listener in self._listeners:
            self._epoll.modify(listener, select.EPOLLIN | select.EPOLLONESHOT)

    def _obey(self, order: int) -> None:
        if not os.read(order, 1):
            self._epoll.unregister(order)  # whoever gave orders is gone: that is one, too
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._house.guests.shut()
        for listener in self._listeners.values():
            self._epoll.unregister(listener)
            listener.close()
        self._listeners.clear()
        if self._tell:  # those that are idle will go, each by its thread
            self._tell(self._house.responses, 0)
        for seat in list(self._seats):
            self._visit(seat)

    def _patience(self) -> float:
        return max(0.0, min(1.0, self._deadline - time.monotonic()))

    def _is_done(self) -> bool:
        return self._stopping and (not self._seats or time.monotonic() >= self._deadline)

    def _end(self) -> None:
        self._crew.dismiss()
        for seat in list(self._seats):
            seat.talk.abort()
        self._epoll.close()
        os.close(self._emptied)
