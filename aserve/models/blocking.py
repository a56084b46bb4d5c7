"""Blocking I/O: a thread for each connection, which waits in recv and in send.

Threads cost memory and the interpreter's attention, so their number is bounded.
"""

import os
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from aserve.models.admissions import NO_ROOM, bounds_of
from aserve.models.conversation import Conversation, House
from aserve.models.faults import report
from aserve.models.owner import Observe, TellRemaining
from aserve.models.shared import SharedAdmissions, one_at_a_time
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_MOST_THREADS = 512
_A_SECOND = struct.pack("ll", 1, 0)  # timeval: how long the kernel lets a call wait


class Model:
    """Accepts on one thread and serves each connection on its own."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        bounds = bounds_of(limits, threads=_MOST_THREADS)
        self._house = House(site, limits, one_at_a_time(observe), bounds)
        self._house.guests = SharedAdmissions(bounds)
        self._threads: dict[threading.Thread, Conversation] = {}
        self._stopping = False
        self._gone = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # rung by threads that end
        weakref.finalize(self, os.close, self._gone)

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
        waiting = select.poll()
        for descriptor in orders:
            waiting.register(descriptor, select.POLLIN)
        self._let_in({listener.fileno(): listener for listener in listeners}, waiting)
        waiting.register(self._gone, select.POLLIN)
        self._house.guests.shut()
        if tell:  # those that are idle will go, each by its thread
            tell(self._house.responses, 0)
        self._wait(waiting, time.monotonic() + grace)
        for thread, talk in list(self._threads.items()):
            with suppress(OSError):
                talk.socket.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _let_in(self, listeners: dict[int, socket.socket], waiting: select.poll) -> None:
        """Start a thread for each connection until there is an order."""
        for listener in listeners.values():
            listener.setblocking(False)  # whoever was to be accepted may have gone
            waiting.register(listener, select.POLLIN)
        while not self._stopping:
            for descriptor, _ in waiting.poll():
                if descriptor not in listeners:
                    self._stopping = True
                    _take(descriptor, waiting)
                elif not self._accept(listeners[descriptor]):
                    _rest(waiting, listeners[descriptor])
        for listener in listeners.values():
            waiting.unregister(listener)
            listener.close()

    def _accept(self, listener: socket.socket) -> bool:
        """Let in whoever waits; tell whether it is worth while to ask again at once."""
        try:
            connection, address = listener.accept()
        except OSError as error:
            return error.errno not in NO_ROOM
        client = address[0] if isinstance(address, tuple) else "-"
        try:
            talk = Conversation(connection, client, self._house)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            report(error, client)
            connection.close()
            return True
        if not talk.is_over:
            self._start(talk)
        return True

    def _start(self, talk: Conversation) -> None:
        """Give a connection its thread."""
        thread = threading.Thread(target=self._converse, args=(talk,), daemon=True)
        self._threads[thread] = talk
        try:
            talk.socket.setblocking(True)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                talk.socket.setsockopt(socket.SOL_SOCKET, option, _A_SECOND)
            thread.start()
        except Exception as error:  # noqa: BLE001 - RuntimeError: the system has no more threads
            del self._threads[thread]
            talk.fail(error)
            talk.abort()

    def _converse(self, talk: Conversation) -> None:
        """Be one connection's thread, from its first octet to its last."""
        try:
            self._carry_on(talk)
        except Exception as error:  # noqa: BLE001 - what was not contained before
            talk.fail(error)
            talk.abort()
        finally:
            self._threads.pop(threading.current_thread(), None)
            os.eventfd_write(self._gone, 1)

    def _carry_on(self, talk: Conversation) -> None:
        ticked, told = time.monotonic(), False
        while not talk.is_over:
            talk.turn(readable=not talk.writes)
            if self._stopping and not told and not talk.is_over:
                told = True
                talk.finish()
            now = time.monotonic()
            if now - ticked >= 1 and not talk.is_over:
                ticked = now
                talk.tick()

    def _wait(self, waiting: select.poll, deadline: float) -> None:
        """Wait for the threads to end, for a deadline, or for another order."""
        while self._threads and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in waiting.poll(left * 1_000):
                if descriptor != self._gone:
                    _take(descriptor, waiting)
                    return
                os.eventfd_read(descriptor)


def _rest(waiting: select.poll, listener: socket.socket) -> None:
    """Leave a listener alone for a second, or until something else happens."""
    waiting.unregister(listener)
    waiting.poll(1_000)
    waiting.register(listener, select.POLLIN)


def _take(order: int, waiting: select.poll) -> None:
    """Take an order; whoever gave them may be gone, which is one, too."""
    if not os.read(order, 1):
        waiting.unregister(order)
