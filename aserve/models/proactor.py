"""Proactor: the kernel reads and writes, files included, and tells what is complete.

Nothing here says EAGAIN. A connection asks for the next octets of its client, of a file, or for
some to be sent, and goes on in what is called when that has happened. Opening a file is the one
thing that is waited for: Site is synchronous.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial

from aserve.models.admissions import bounds_of
from aserve.models.conversation import Conversation, House
from aserve.models.faults import contained, report
from aserve.models.owner import Observe, TellRemaining
from aserve.models.ring import Ring
from aserve.semantics.messages import FileSlice
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_BLOCK = 131_072  # octets of a reply in memory at once


def why_not() -> str:
    """Return what stands against this model here, "" for nothing."""
    try:
        Ring(size=1).close()
    except OSError as error:
        why = error.strerror or str(error)
        return f"this system does not permit io_uring, as of Linux 6.1 ({why})"
    return ""


class Model:
    """One thread and one ring."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        self._house = House(site.unread(), limits, observe, bounds_of(limits))
        self._ring = Ring()
        self._accepting: set[socket.socket] = set()  # listeners that the kernel accepts from
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
        self._listeners, self._grace, self._tell = listeners, grace, tell
        for listener in listeners:
            listener.setblocking(True)
        for order in orders:
            self._await_order(order)
        ticked = time.monotonic()
        self._accept()
        while not self._is_done():
            self._ring.wait(max(0.0, min(1.0, self._deadline - time.monotonic())))
            now = time.monotonic()
            if now - ticked >= 1:
                ticked = now
                self._tick()
        for talk in self._talks():
            talk.abort()
        self._ring.close()
        for listener in listeners:
            listener.close()

    def _accept(self) -> None:
        """Have the kernel accept from each listener from which it does not yet."""
        for listener in self._listeners:
            if listener not in self._accepting:
                self._accepting.add(listener)
                self._ring.accept(listener.fileno(), partial(self._accepted, listener))

    def _accepted(self, kind: socket.socket, result: int) -> None:
        if result < 0:  # we stop, or descriptors have run out: the next tick tries again
            self._accepting.discard(kind)
            if self._stopping:
                kind.close()
            return
        connection = socket.socket(kind.family, kind.type, kind.proto, result)
        client = _client(connection)
        try:
            talk = _Talk(connection, client, self._house, self._ring)
        except Exception as error:  # noqa: BLE001 - it ends this connection alone
            report(error, client)
            connection.close()
        else:
            talk.go_on()

    def _await_order(self, order: int) -> None:
        octet = bytearray(1)
        self._ring.read(order, 0, octet, partial(self._obey, order))

    def _obey(self, order: int, result: int) -> None:
        if result > 0:  # else whoever gave orders is gone: that is one, too, and the last
            self._await_order(order)
        if self._stopping:
            self._deadline = 0.0
            return
        self._stopping = True
        self._deadline = time.monotonic() + self._grace
        self._house.guests.shut()
        for listener in self._accepting:
            self._ring.cancel(listener.fileno())
        for talk in self._talks():
            talk.finish()
        if self._tell:
            self._tell(self._house.responses, len(self._house.guests.open))

    def _tick(self) -> None:
        for talk in self._talks():
            talk.tick()
            talk.go_on()
        if not self._stopping:
            self._accept()

    def _talks(self) -> Iterator["_Talk"]:
        """Yield the connections that are open now, whatever becomes of them meanwhile."""
        return (talk for talk in list(self._house.guests.open) if isinstance(talk, _Talk))

    def _is_done(self) -> bool:
        """Tell whether all is over, and the kernel has let go of the listeners."""
        if not self._stopping:
            return False
        over = not (self._house.guests.open or self._accepting)
        return over or time.monotonic() >= self._deadline


class _Talk(Conversation):
    """A conversation that asks for one thing of each kind at a time, and is told."""

    blocks = True  # the kernel waits for the socket, and nobody else does

    def __init__(self, connection: socket.socket, client: str, house: House, ring: Ring) -> None:
        self._ring = ring
        self._receives = self._sends = self._fetches = self._goes_on = False
        super().__init__(connection, client, house)

    @property
    def writes(self) -> bool:
        """Whether octets wait for the client; while they wait for a disk, it is not its fault."""
        return self._sends

    @property
    def _is_busy(self) -> bool:
        return self._sends or self._fetches

    @contained
    def go_on(self) -> None:
        """Ask for whatever can be done now and has not been asked for."""
        self._send_some()
        if self.has_more:
            if not self._goes_on:
                self._ring.call_soon(self._take_turn)
                self._goes_on = True
        elif self.reads and not self._receives:
            self._ring.receive(self.socket.fileno(), self._received)
            self._receives = True

    @contained
    def _take_turn(self, _result: int) -> None:
        self._goes_on = False
        if self.has_more and not self._is_gone:
            self._advance()
            self.go_on()

    def _received(self, result: int, octets: bytes) -> None:
        self._receives = False
        if self._is_gone:
            self._let_go()
        else:
            self._go_on_with(result, octets)

    @contained
    def _go_on_with(self, result: int, octets: bytes) -> None:
        if result >= 0:
            self._take(octets)
        elif result != -errno.ENOBUFS:  # else buffers were short for a moment
            self.abort()
        self.go_on()

    def _send_some(self) -> bool:
        """Have a block sent, once its octets are in memory; nothing leaves at once."""
        if self._left and not (self._sends or self._fetches):
            block = list(self._block())
            behind = self._left[len(block)] if len(block) < len(self._left) else b""
            if isinstance(behind, FileSlice) and sum(map(len, block)) < _BLOCK:
                self._fetch(len(block), behind)
            else:
                self._ring.send(self.socket.fileno(), b"".join(block), self._sent_some)
                self._sends = True
        return False

    def _block(self) -> Iterator[bytes]:
        """Yield what is in memory of what leaves next, a block or a little more."""
        length = 0
        for piece in self._left:
            if length >= _BLOCK or isinstance(piece, FileSlice):
                return
            length += len(piece)
            yield piece

    def _fetch(self, index: int, piece: FileSlice) -> None:
        buffer = bytearray(min(len(piece), _BLOCK))
        done = partial(self._fetched, index, piece, buffer)
        apart = not piece.content.is_local
        self._ring.read(piece.content.fileno(), piece.start, buffer, done, apart=apart)
        self._fetches = True

    @contained
    def _fetched(self, index: int, piece: FileSlice, buffer: bytearray, result: int) -> None:
        self._fetches = False
        if self._is_gone:
            return
        if result <= 0:
            short = EOFError(f"the file ended {len(piece)} octets early")
            self._cut_short(_error(result) if result else short)
            return
        self._left[index] = bytes(memoryview(buffer)[:result])
        if result < len(piece):
            rest = FileSlice(piece.content, piece.start + result, piece.stop)
            self._left.insert(index + 1, rest)
        self.go_on()

    def _sent_some(self, result: int) -> None:
        self._sends = False
        if self._is_gone:
            self._let_go()
            self._record_late(max(0, result))
        else:
            self._count_sent(result)

    @contained
    def _record_late(self, octets: int) -> None:
        """Tell of a response that was cut short while so many of its octets were on their way."""
        part = self._octets - (self._goal - self._sent - octets)
        self._record_part(self._status, max(0, part))

    @contained
    def _count_sent(self, result: int) -> None:
        if result < 0:
            self._cut_short(_error(result))
            return
        self._sent += result
        while self._left and isinstance(piece := self._left[0], bytes) and result >= len(piece):
            result -= len(piece)
            self._left.popleft()
        if result and isinstance(piece, bytes):
            self._left[0] = piece[result:]
        if not self._left:
            self._replied()
            self._advance()
        self.go_on()

    def _record_cut(self) -> None:
        """Tell of a response that is cut short, when it is known how much of it was sent."""
        if not self._sends:
            super()._record_cut()

    def _close(self) -> None:
        """Close when nothing is under way any more that names the descriptor."""
        if self._receives or self._sends:
            self._ring.cancel(self.socket.fileno())
        self._let_go()

    def _let_go(self) -> None:
        if not (self._receives or self._sends):
            self.socket.close()
            return
        with suppress(OSError):  # by which alone all that is under way ends, too
            self.socket.shutdown(socket.SHUT_RDWR)


def _client(connection: socket.socket) -> str:
    try:
        address = connection.getpeername()
    except OSError:  # it has gone
        return "-"
    return str(address[0]) if isinstance(address, tuple) else "-"


def _error(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))
