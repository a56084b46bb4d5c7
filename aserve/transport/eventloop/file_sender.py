"""The way out for replies that are more than one write: files go from the kernel's memory."""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing

from aserve.http.messages import BodyPart, FileSlice
from aserve.transport.eventloop.file_blocks import read_blocks
from aserve.transport.eventloop.write_readiness import WriteReadiness

_MAX_BYTES_PER_TURN = (
    1 << 21
)  # octets that one connection may send before the others have their turn
_READ_SIZE = 262_144  # octets that a thread reads at once


class _NotInPageCache(Exception):
    """What comes next would have to be waited for."""


class FileSender:
    """A connection's way past its transport: sendfile copies nothing through this process.

    uvloop has no loop.sendfile. What leaves this way does so while the transport's own buffer is
    empty and on its own descriptor: to hold one more for each reply would halve the clients that
    can be served.

    writable: waits until the transport's buffer is empty.
    """

    __slots__ = (
        "_descriptor",
        "_executor",
        "_socket",
        "_transport",
        "_wait_writable",
        "_write_readiness",
        "bytes_sent",
        "is_blocked",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        executor: Executor,
        write_readiness: WriteReadiness,
        wait_writable: Callable[[], Awaitable[None]],
    ) -> None:
        self.bytes_sent = 0
        """Octets that went past the transport, in all."""
        self.is_blocked = False
        """Whether the client has not taken what was sent."""
        self._transport = transport
        self._executor = executor
        self._write_readiness = write_readiness
        self._wait_writable = wait_writable
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._socket = socket.socket(fileno=self._descriptor)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Let go of the descriptor, which is the transport's."""
        self._socket.detach()

    __del__ = close

    def try_send(self, pieces: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can leave without waiting for anything; return the rest, None for nothing.

        Raises what send raises.
        """
        if self._transport.get_write_buffer_size():
            return deque(pieces)
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            try:
                if isinstance(piece, bytes):
                    count, wanted = self._send_bytes(piece, number < last), len(piece)
                else:
                    count, wanted = self._send_file_slice(piece), piece.stop - piece.start
            except (BlockingIOError, _NotInPageCache):
                return deque(pieces[number:])
            if count < wanted:
                return deque((_skip_bytes(piece, count), *pieces[number + 1 :]))
        return None

    async def send(self, left: deque[BodyPart]) -> None:
        """Send the rest, as fast as the client takes it and the disk gives it.

        Raises EOFError where a file has become shorter than was promised, OSError where it fails
        or the client is gone.
        """
        self._transport.set_write_buffer_limits(high=0)  # to be told when it is empty
        await self._wait_writable()
        while left:
            if self._transport.is_closing():
                raise ConnectionAbortedError
            piece = left.popleft()
            wanted = min(len(piece), _MAX_BYTES_PER_TURN)
            try:
                count = self._send_part(piece, bool(left))
            except BlockingIOError:
                count = 0
            except _NotInPageCache:
                await self._read_from_disk(piece, left)
                continue
            if count < len(piece):
                left.appendleft(_skip_bytes(piece, count))
            if count < wanted:  # it is full: to try again at once sends little at a high price
                await self._fill_socket(left)
            elif left:
                await asyncio.sleep(0)
        self._transport.set_write_buffer_limits()

    def _send_part(self, piece: BodyPart, more: bool) -> int:
        """Send as much of a piece as can leave, and return how much that was.

        more: something follows, and belongs into the same segment.
        """
        return (
            self._send_bytes(piece, more)
            if isinstance(piece, bytes)
            else self._send_file_slice(piece)
        )

    def _send_bytes(self, data: bytes, more: bool) -> int:
        count = self._socket.send(data, socket.MSG_MORE if more else 0)
        self.bytes_sent += count
        return count

    def _send_file_slice(self, piece: FileSlice) -> int:
        content, start, stop = piece.source, piece.start, piece.stop
        if stop - start > _MAX_BYTES_PER_TURN:
            stop = start + _MAX_BYTES_PER_TURN
        if not content.is_in_page_cache(start, stop):
            raise _NotInPageCache
        count = os.sendfile(self._descriptor, content.fileno(), start, stop - start)
        if not count:
            raise EOFError(f"the file ended at {start} octets")
        self.bytes_sent += count
        return count

    async def _fill_socket(self, left: deque[BodyPart]) -> None:
        """Wait for room, and go on with the file that is under way for as long as nothing else is.

        Whatever else comes up, an error included, is left to send, which meets it at once.
        """

        def pour() -> bool:
            piece = left[0]
            if isinstance(piece, bytes) or self._transport.is_closing():
                return False
            try:
                count = self._send_file_slice(piece)
            except BlockingIOError:
                return True
            except (OSError, EOFError, _NotInPageCache):
                return False
            if count < len(piece):
                left[0] = _skip_bytes(piece, count)
                return True
            left.popleft()
            return False

        self.is_blocked = True
        try:
            await self._write_readiness.call_while_writable(self._descriptor, pour)
        finally:
            self.is_blocked = False

    async def _read_from_disk(self, piece: BodyPart, left: deque[BodyPart]) -> None:
        """Have a thread, which may wait for the disk, read the next octets; leave them to send."""
        assert isinstance(piece, FileSlice)  # noqa: S101 - octets are never on a disk
        part = FileSlice(piece.source, piece.start, min(piece.stop, piece.start + _READ_SIZE))
        async with aclosing(read_blocks([part], self._executor)) as stream:
            octets = b"".join([block async for block in stream])
        if part.stop < piece.stop:
            left.appendleft(_skip_bytes(piece, len(octets)))
        left.appendleft(octets)


def _skip_bytes(piece: BodyPart, count: int) -> BodyPart:
    """Return a piece without its first octets."""
    if isinstance(piece, FileSlice):
        return FileSlice(piece.source, piece.start + count, piece.stop)
    return piece[count:]
