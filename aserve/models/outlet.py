"""The way out for replies that are more than one write: files go from the kernel's memory."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing

from aserve.models.room import Room
from aserve.models.streams import blocks
from aserve.semantics.messages import FileSlice, Piece

_TURN = 1 << 21  # octets that one connection may send before the others have their turn
_FROM_DISK = 262_144  # octets that a thread reads at once


class _NotInMemory(Exception):
    """What comes next would have to be waited for."""


class Outlet:
    """A connection's way past its transport: sendfile copies nothing through this process.

    uvloop has no loop.sendfile. What leaves this way does so while the transport's own buffer is
    empty and on its own descriptor: to hold one more for each reply would halve the clients that
    can be served.

    writable: waits until the transport's buffer is empty.
    """

    __slots__ = (
        "_descriptor",
        "_executor",
        "_room",
        "_socket",
        "_transport",
        "_writable",
        "sent",
        "waits",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        executor: Executor,
        room: Room,
        writable: Callable[[], Awaitable[None]],
    ) -> None:
        self.sent = 0
        """Octets that went past the transport, in all."""
        self.waits = False
        """Whether the client has not taken what was sent."""
        self._transport = transport
        self._executor = executor
        self._room = room
        self._writable = writable
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._socket = socket.socket(fileno=self._descriptor)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Let go of the descriptor, which is the transport's."""
        self._socket.detach()

    __del__ = close

    def send_at_once(self, pieces: Sequence[Piece]) -> deque[Piece] | None:
        """Send what can leave without waiting for anything; return the rest, None for nothing.

        Raises what send raises.
        """
        if self._transport.get_write_buffer_size():
            return deque(pieces)
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            try:
                if isinstance(piece, bytes):
                    count, wanted = self._put_octets(piece, number < last), len(piece)
                else:
                    count, wanted = self._put_file(piece), piece.stop - piece.start
            except (BlockingIOError, _NotInMemory):
                return deque(pieces[number:])
            if count < wanted:
                return deque((_without(piece, count), *pieces[number + 1 :]))
        return None

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
            piece = left.popleft()
            wanted = min(len(piece), _TURN)
            try:
                count = self._put(piece, bool(left))
            except BlockingIOError:
                count = 0
            except _NotInMemory:
                await self._read_from_disk(piece, left)
                continue
            if count < len(piece):
                left.appendleft(_without(piece, count))
            if count < wanted:  # it is full: to try again at once sends little at a high price
                await self._fill(left)
            elif left:
                await asyncio.sleep(0)
        self._transport.set_write_buffer_limits()

    def _put(self, piece: Piece, more: bool) -> int:
        """Send as much of a piece as can leave, and return how much that was.

        more: something follows, and belongs into the same segment.
        """
        return self._put_octets(piece, more) if isinstance(piece, bytes) else self._put_file(piece)

    def _put_octets(self, octets: bytes, more: bool) -> int:
        count = self._socket.send(octets, socket.MSG_MORE if more else 0)
        self.sent += count
        return count

    def _put_file(self, piece: FileSlice) -> int:
        content, start, stop = piece.content, piece.start, piece.stop
        if stop - start > _TURN:
            stop = start + _TURN
        if not content.is_at_hand(start, stop):
            raise _NotInMemory
        count = os.sendfile(self._descriptor, content.fileno(), start, stop - start)
        if not count:
            raise EOFError(f"the file ended at {start} octets")
        self.sent += count
        return count

    async def _fill(self, left: deque[Piece]) -> None:
        """Wait for room, and go on with the file that is under way for as long as nothing else is.

        Whatever else comes up, an error included, is left to send, which meets it at once.
        """

        def pour() -> bool:
            piece = left[0]
            if isinstance(piece, bytes) or self._transport.is_closing():
                return False
            try:
                count = self._put_file(piece)
            except BlockingIOError:
                return True
            except (OSError, EOFError, _NotInMemory):
                return False
            if count < len(piece):
                left[0] = _without(piece, count)
                return True
            left.popleft()
            return False

        self.waits = True
        try:
            await self._room.fill(self._descriptor, pour)
        finally:
            self.waits = False

    async def _read_from_disk(self, piece: Piece, left: deque[Piece]) -> None:
        """Have a thread, which may wait for the disk, read the next octets; leave them to send."""
        assert isinstance(piece, FileSlice)  # noqa: S101 - octets are never on a disk
        part = FileSlice(piece.content, piece.start, min(piece.stop, piece.start + _FROM_DISK))
        async with aclosing(blocks([part], self._executor)) as stream:
            octets = b"".join([block async for block in stream])
        if part.stop < piece.stop:
            left.appendleft(_without(piece, len(octets)))
        left.appendleft(octets)


def _without(piece: Piece, count: int) -> Piece:
    """Return a piece without its first octets."""
    if isinstance(piece, FileSlice):
        return FileSlice(piece.content, piece.start + count, piece.stop)
    return piece[count:]
