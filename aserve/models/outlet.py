"""The way out for replies that are more than one write: files go from the kernel's memory."""

import asyncio
import enum
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from aserve.models.thread_pool import ThreadPool
from aserve.semantics.messages import FileSlice, Piece

if TYPE_CHECKING:
    import concurrent.futures

_TURN = 2 << 20  # octets that one connection may send before the others have their turn


class _Pause(enum.Enum):
    """Why no more can leave at the moment."""

    CLIENT = enum.auto()
    """It has not taken what was sent."""
    DISK = enum.auto()
    """What comes next is not in memory."""
    TURN = enum.auto()
    """Others want to be served too."""


class Outlet:
    """One connection's socket, past its transport: sendfile copies nothing through this process.

    uvloop has no loop.sendfile. The descriptor is a duplicate, since uvloop watches none of its
    own for writing, and since a thread may still use it when the transport is closed already. Only
    to be used while the transport's own buffer is empty, or octets would overtake each other.

    Raises OSError where there are no descriptors left.
    """

    __slots__ = ("_loop", "_pool", "_sent", "_socket", "_work", "is_stuck")

    def __init__(
        self,
        descriptor: int,
        loop: asyncio.AbstractEventLoop,
        pool: ThreadPool,
        sent: Callable[[int], None],
    ) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.setblocking(False)
        self._work: concurrent.futures.Future[int] | None = None
        self._loop = loop
        self._pool = pool
        self._sent = sent
        self.is_stuck = False
        """Whether the client does not take what waits for it."""

    def close(self) -> None:
        """Give the descriptor up, when no thread can be using it any more."""
        self.when_idle(self._socket.close)

    def when_idle(self, do: Callable[[], object]) -> None:
        """Do something when no thread sends anything of this connection, which may be now."""
        if self._work:
            self._work.add_done_callback(lambda _: do())
        else:
            do()

    def send_at_once(self, pieces: Iterable[Piece]) -> deque[Piece]:
        """Send what can leave without waiting for anything; return what is left."""
        left = deque(pieces)
        self._push(left)
        return left

    async def send(self, left: deque[Piece]) -> None:
        """Send the rest, as fast as the client takes it and the disk gives it.

        Raises EOFError where a file has become shorter than was promised, OSError where it fails
        or the client is gone.
        """
        while left:
            pause = self._push(left)
            if pause is _Pause.CLIENT:
                await self._until_writable()
            elif pause is _Pause.DISK:
                await self._send_from_disk(left)
            else:
                await asyncio.sleep(0)

    def _push(self, left: deque[Piece]) -> _Pause:
        turn = _TURN
        while left and turn > 0:
            piece = left.popleft()
            try:
                if isinstance(piece, FileSlice):
                    stop = min(piece.stop, piece.start + turn)
                    if not piece.content.is_at_hand(piece.start, stop):
                        left.appendleft(piece)
                        return _Pause.DISK
                    count = _sendfile(self._socket, piece, stop)
                else:
                    # More to come: head and file belong into one segment.
                    count = self._socket.send(piece, socket.MSG_MORE if left else 0)
            except BlockingIOError:
                left.appendleft(piece)
                return _Pause.CLIENT
            self._took(count, piece, left)
            turn -= count
        return _Pause.TURN

    async def _send_from_disk(self, left: deque[Piece]) -> None:
        """Send one piece from a thread, which may wait for the disk; the socket never blocks."""
        piece = left.popleft()
        assert isinstance(piece, FileSlice)  # noqa: S101 - octets are never on a disk
        stop = min(piece.stop, piece.start + _TURN)
        self._work = self._pool.submit(_sendfile, self._socket, piece, stop)
        try:
            count = await asyncio.wrap_future(self._work, loop=self._loop)
        except BlockingIOError:
            left.appendleft(piece)
            await self._until_writable()
        else:
            self._took(count, piece, left)

    def _took(self, count: int, piece: Piece, left: deque[Piece]) -> None:
        self._sent(count)
        if count == len(piece):
            return
        if isinstance(piece, FileSlice):
            left.appendleft(FileSlice(piece.content, piece.start + count, piece.stop))
        else:
            left.appendleft(piece[count:])

    async def _until_writable(self) -> None:
        writable = self._loop.create_future()
        self._loop.add_writer(self._socket, _fulfil, writable)
        self.is_stuck = True
        try:
            await writable
        finally:
            self.is_stuck = False
            self._loop.remove_writer(self._socket)


def _sendfile(to: socket.socket, piece: FileSlice, stop: int) -> int:
    start = piece.start
    count = os.sendfile(to.fileno(), piece.content.fileno(), start, stop - start)
    if not count:
        raise EOFError(f"the file ended at {start} octets")
    return count


def _fulfil(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
