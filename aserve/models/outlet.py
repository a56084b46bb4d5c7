"""The way out for replies that are more than one write: files go from the kernel's memory."""

import asyncio
import enum
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from contextlib import aclosing

from aserve.models.streams import blocks
from aserve.semantics.messages import FileSlice, Piece

_TURN = 2 << 20  # octets that one connection may send before the others have their turn
_FROM_DISK = 262_144  # octets that a thread reads at once
_NUDGE = 16_384  # octets through the transport, which tells when the client has taken them


class _Pause(enum.Enum):
    """Why no more can leave at the moment."""

    CLIENT = enum.auto()
    """It has not taken what was sent."""
    DISK = enum.auto()
    """What comes next is not in memory."""
    TURN = enum.auto()
    """Others want to be served too."""


class Outlet:
    """A connection's way past its transport: sendfile copies nothing through this process.

    uvloop has no loop.sendfile, and does not let its own descriptors be watched for writing. So
    what leaves this way does so while the transport's own buffer is empty and on its own
    descriptor, and when the socket is full a few octets through the transport tell when it is
    not. To hold a descriptor more for each reply would halve the clients that can be served.

    write: hands octets to the transport; sent: is told how many octets went past it; writable:
    waits until the transport's buffer is empty.
    """

    __slots__ = ("_executor", "_sent", "_socket", "_transport", "_writable", "_write")

    def __init__(
        self,
        transport: asyncio.Transport,
        executor: Executor,
        write: Callable[[bytes], None],
        sent: Callable[[int], None],
        writable: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._executor = executor
        self._write = write
        self._sent = sent
        self._writable = writable
        self._socket = socket.socket(fileno=transport.get_extra_info("socket").fileno())
        self._socket.setblocking(False)

    def close(self) -> None:
        """Let go of the descriptor, which is the transport's."""
        self._socket.detach()

    __del__ = close

    def send_at_once(self, pieces: Iterable[Piece]) -> deque[Piece]:
        """Send what can leave without waiting for anything; return what is left."""
        left = deque(pieces)
        if not self._transport.get_write_buffer_size():
            self._push(left)
        return left

    async def send(self, left: deque[Piece]) -> None:
        """Send the rest, as fast as the client takes it and the disk gives it.

        Raises EOFError where a file has become shorter than was promised, OSError where it fails
        or the client is gone.
        """
        self._transport.set_write_buffer_limits(high=0)  # to be told when it is empty
        await self._writable()
        while left:
            if self._transport.is_closing():
                raise ConnectionAbortedError
            pause = self._push(left)
            if pause is _Pause.CLIENT:
                await self._nudge(left)
            elif pause is _Pause.DISK:
                await self._read_from_disk(left)
            else:
                await asyncio.sleep(0)
            await self._writable()
        self._transport.set_write_buffer_limits()

    def _push(self, left: deque[Piece]) -> _Pause:
        turn = _TURN
        while left and turn > 0:
            piece = left[0]
            try:
                if isinstance(piece, FileSlice):
                    stop = min(piece.stop, piece.start + turn)
                    if not piece.content.is_at_hand(piece.start, stop):
                        return _Pause.DISK
                    wanted = stop - piece.start
                    count = self._sendfile(piece, stop)
                else:
                    wanted = len(piece)
                    # More to come: head and file belong into one segment.
                    count = self._socket.send(piece, socket.MSG_MORE if len(left) > 1 else 0)
            except BlockingIOError:
                return _Pause.CLIENT
            self._sent(count)
            _drop(left, count)
            turn -= count
            if count < wanted:  # it is full: to try again at once sends little at a high price
                return _Pause.CLIENT
        return _Pause.TURN

    def _sendfile(self, piece: FileSlice, stop: int) -> int:
        start = piece.start
        count = os.sendfile(self._socket.fileno(), piece.content.fileno(), start, stop - start)
        if not count:
            raise EOFError(f"the file ended at {start} octets")
        return count

    async def _nudge(self, left: deque[Piece]) -> None:
        """Send a few octets through the transport, so that it tells when they are taken."""
        try:
            octets = _first(left, _NUDGE)
        except BlockingIOError:  # they were in memory a moment ago
            await self._read_from_disk(left)
        else:
            self._write(octets)

    async def _read_from_disk(self, left: deque[Piece]) -> None:
        """Send some octets that a thread reads, which may wait for the disk."""
        piece = left[0]
        assert isinstance(piece, FileSlice)  # noqa: S101 - octets are never on a disk
        part = FileSlice(piece.content, piece.start, min(piece.stop, piece.start + _FROM_DISK))
        async with aclosing(blocks([part], self._executor)) as stream:
            async for block in stream:
                self._write(block)
                _drop(left, len(block))


def _first(left: deque[Piece], most: int) -> bytes:
    """Take the first octets, which are at hand."""
    piece = left[0]
    if isinstance(piece, FileSlice):
        octets = piece.content.read(piece.start, min(piece.stop, piece.start + most))
        if not octets:
            raise EOFError(f"the file ended at {piece.start} octets")
    else:
        octets = piece[:most]
    _drop(left, len(octets))
    return octets


def _drop(left: deque[Piece], count: int) -> None:
    """Take octets away from the first piece."""
    piece = left.popleft()
    if count == len(piece):
        return
    if isinstance(piece, FileSlice):
        left.appendleft(FileSlice(piece.content, piece.start + count, piece.stop))
    else:
        left.appendleft(piece[count:])
