"""What sends responses that take more than one write, as far as it does not matter how."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from aserve.http.messages import BodyPart, BodyStream, FileSlice
from aserve.transport.eventloop.file_blocks import read_blocks
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.sending import skip_bytes

_READ_SIZE = 262_144  # bytes that a thread reads at once


class ResponseSender(ABC):
    """Sends on one connection, as fast as the client, the disk and the handler allow.

    wait_writable: waits until the transport's buffer has space.
    """

    __slots__ = (
        "_pool",
        "_transport",
        "_wait_writable",
        "bytes_sent",
        "is_blocked",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        pool: ThreadPool,
        wait_writable: Callable[[], Awaitable[None]],
    ) -> None:
        self.bytes_sent = 0
        """Bytes sent, in total, besides those that the connection writes itself."""
        self.is_blocked = False
        """Whether the socket is full, since the client does not read."""
        self._transport = transport
        self._pool = pool
        self._wait_writable = wait_writable

    @abstractmethod
    def try_send(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can be sent without waiting. Return the unsent parts, or None.

        Raises what send raises.
        """

    async def send(self, unsent: deque[BodyPart]) -> None:
        """Send all parts, and close the streams among them.

        Raises EOFError if a file has become shorter than its part, OSError if it cannot be read or
        the client has gone, and what a stream raises.
        """
        try:
            await self._send_all(unsent)
        finally:
            for part in unsent:
                if isinstance(part, BodyStream):
                    self._pool.release(part)

    async def flush(self) -> None:
        """Wait until nothing that was written is left in the transport's buffer.

        Raises OSError if the client goes away meanwhile, since it never gets that.
        """
        if not self._transport.get_write_buffer_size():
            return
        # resume_writing is called when it is empty, but by TLS only if it was not before.
        self._transport.set_write_buffer_limits(high=1, low=0)
        await self._wait_writable()
        self._transport.set_write_buffer_limits()
        if self._transport.is_closing():
            raise ConnectionAbortedError

    @abstractmethod
    async def _send_all(self, unsent: deque[BodyPart]) -> None:
        """Send all parts. A stream whose bytes are awaited is not in unsent."""

    @abstractmethod
    def close(self) -> None:
        """Release what the sender holds of its transport."""

    async def _read_from_stream(self, stream: BodyStream, unsent: deque[BodyPart]) -> None:
        """Put the next bytes of a stream into unsent, and the stream behind them."""
        if stream.may_wait:
            reading = self._pool.submit(stream.read)
            try:
                data = await asyncio.wrap_future(reading)
            except BaseException:
                # Not before the thread returns: a generator cannot be closed while it runs.
                stream.cancel()
                self._pool.release(stream, after=reading)
                raise
        else:
            try:
                data = stream.read()
            except BaseException:
                self._pool.release(stream)
                raise
        if data:
            unsent.extendleft((stream, data))
        else:
            self._pool.release(stream)

    async def _read_from_disk(self, part: FileSlice, unsent: deque[BodyPart]) -> None:
        """Put the next bytes of a file into unsent: a thread reads, which may wait for the disk."""
        block = FileSlice(part.source, part.start, min(part.stop, part.start + _READ_SIZE))
        async with aclosing(read_blocks(block, self._pool)) as pieces:
            data = b"".join([piece async for piece in pieces])
        if block.stop < part.stop:
            unsent.appendleft(skip_bytes(part, len(data)))
        unsent.appendleft(data)
