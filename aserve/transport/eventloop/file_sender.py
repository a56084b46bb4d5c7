"""Sends responses that take more than one write. Files are sent from the page cache."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from aserve.http.messages import BodyPart, BodyStream, FileSlice, SizedPart
from aserve.transport.eventloop.response_sender import ResponseSender
from aserve.transport.eventloop.thread_pool import ThreadPool
from aserve.transport.eventloop.write_readiness import WriteReadiness
from aserve.transport.sending import joins, send_file_slice, skip_bytes

_MAX_BYTES_PER_TURN = 1 << 21  # bytes of one connection; then others have their turn


class _NotInPageCache(Exception):
    """The next bytes of the file must be read from the disk."""


class FileSender(ResponseSender):
    """Sends past a connection's transport: sendfile copies nothing through this process.

    uvloop has no loop.sendfile. This class writes to the transport's own descriptor while the
    transport's buffer is empty. A duplicate descriptor for each response would halve the number of
    clients that can be served.
    """

    __slots__ = (
        "_descriptor",
        "_socket",
        "_write_readiness",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        pool: ThreadPool,
        wait_writable: Callable[[], Awaitable[None]],
        write_readiness: WriteReadiness,
    ) -> None:
        super().__init__(transport, pool, wait_writable)
        self._write_readiness = write_readiness
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._socket = socket.socket(fileno=self._descriptor)
        self._socket.setblocking(False)

    @staticmethod
    def can_send_on(transport: asyncio.Transport) -> bool:
        """Tell whether the transport leaves the bytes as they are: TLS would be bypassed."""
        info = transport.get_extra_info
        is_encrypted = info("sslcontext") is not None or info("ssl_object") is not None
        return info("socket") is not None and not is_encrypted

    def close(self) -> None:
        """Detach from the descriptor, which belongs to the transport."""
        self._socket.detach()

    __del__ = close

    def try_send(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can be sent without waiting. Return the unsent parts, or None."""
        if self._transport.get_write_buffer_size():
            return deque(parts)
        last = len(parts) - 1
        for number, part in enumerate(parts):
            try:
                if isinstance(part, bytes):
                    count, wanted = self._send_bytes(part, number < last), len(part)
                elif isinstance(part, FileSlice):
                    count, wanted = self._send_file_slice(part), part.stop - part.start
                else:
                    return deque(parts[number:])
            except (BlockingIOError, _NotInPageCache):
                return deque(parts[number:])
            if count < wanted:
                return deque((skip_bytes(part, count), *parts[number + 1 :]))
        return None

    async def _send_all(self, unsent: deque[BodyPart]) -> None:
        self._transport.set_write_buffer_limits(high=0)  # resume_writing is called when it is empty
        await self._wait_writable()
        while unsent:
            if self._transport.is_closing():
                raise ConnectionAbortedError
            part = unsent.popleft()
            if isinstance(part, BodyStream):
                await self._read_from_stream(part, unsent)
            else:
                await self._send_next(part, unsent)
        self._transport.set_write_buffer_limits()

    async def _send_next(self, part: SizedPart, unsent: deque[BodyPart]) -> None:
        """Send some of a part that was taken from unsent, and put the rest back."""
        wanted = min(len(part), _MAX_BYTES_PER_TURN)
        try:
            count = self._send_part(part, joins(unsent[0] if unsent else None))
        except BlockingIOError:
            count = 0
        except _NotInPageCache:
            await self._read_from_disk(cast("FileSlice", part), unsent)
            return
        if count < len(part):
            unsent.appendleft(skip_bytes(part, count))
        if count < wanted:  # the socket is full: a retry at once would send little
            await self._fill_socket(unsent)
        elif unsent:
            await asyncio.sleep(0)

    def _send_part(self, part: SizedPart, more: bool) -> int:
        """Send what the socket takes of a part, and return the number of bytes.

        more: another part follows, and belongs in the same segment.
        """
        return (
            self._send_bytes(part, more) if isinstance(part, bytes) else self._send_file_slice(part)
        )

    def _send_bytes(self, data: bytes, more: bool) -> int:
        count = self._socket.send(data, socket.MSG_MORE if more else 0)
        self.bytes_sent += count
        return count

    def _send_file_slice(self, part: FileSlice) -> int:
        start, stop = part.start, part.stop
        if stop - start > _MAX_BYTES_PER_TURN:
            stop = start + _MAX_BYTES_PER_TURN
        if not part.source.is_in_page_cache(start, stop):
            raise _NotInPageCache
        count = send_file_slice(self._descriptor, part, _MAX_BYTES_PER_TURN)
        self.bytes_sent += count
        return count

    async def _fill_socket(self, unsent: deque[BodyPart]) -> None:
        """Wait until the socket is writable, and send the current file whenever it is.

        Everything else, errors included, is left to send, which meets it at once.
        """

        def send_more() -> bool:
            part = unsent[0]
            if not isinstance(part, FileSlice) or self._transport.is_closing():
                return False
            try:
                count = self._send_file_slice(part)
            except BlockingIOError:
                return True
            except (OSError, EOFError, _NotInPageCache):
                return False
            if count < len(part):
                unsent[0] = skip_bytes(part, count)
                return True
            unsent.popleft()
            return False

        self.is_blocked = True
        try:
            await self._write_readiness.call_while_writable(self._descriptor, send_more)
        finally:
            self.is_blocked = False
