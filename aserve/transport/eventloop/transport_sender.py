"""Sends through a transport that changes the bytes on their way, as TLS does."""

import asyncio
from collections import deque
from collections.abc import Sequence

from aserve.http.messages import BodyPart, BodyStream
from aserve.transport.eventloop.response_sender import ResponseSender

_MAX_WRITE = 65_536  # bytes written at once, without waiting for space


class TransportSender(ResponseSender):
    """Reads files in a thread and writes them to the transport; no byte gets past it."""

    __slots__ = ()

    def try_send(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Write what is in memory and small. Return the unsent parts, or None."""
        unsent = deque(parts)
        while (
            unsent
            and isinstance(part := unsent[0], bytes)
            and self._transport.get_write_buffer_size() + len(part) <= _MAX_WRITE
        ):
            unsent.popleft()
            self._write(part)
        return unsent or None

    async def _send_all(self, unsent: deque[BodyPart]) -> None:
        while unsent:
            await self._wait_writable()
            if self._transport.is_closing():
                raise ConnectionAbortedError
            part = unsent.popleft()
            if isinstance(part, BodyStream):
                await self._read_from_stream(part, unsent)
            elif isinstance(part, bytes):
                self._write(part)
                await asyncio.sleep(0)
            else:
                await self._read_from_disk(part, unsent)

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def _write(self, data: bytes) -> None:
        self.bytes_sent += len(data)
        self._transport.write(data)
