"""Sends through a transport that changes the bytes on their way, as TLS does."""

import asyncio
import os
from collections import deque
from collections.abc import Sequence

from aserve.http.messages import BodyPart, BodyStream, FileSlice
from aserve.transport.eventloop.response_sender import ResponseSender
from aserve.transport.sending import file_ended, skip_bytes

_MAX_WRITE = 65_536  # bytes of files in one write
_MAX_BYTES_PER_TURN = 1 << 18  # bytes of one connection, which take 0.3 ms to encrypt and send
_WINDOW = 1 << 20  # bytes of a file of which the kernel is asked whether they are in memory


class TransportSender(ResponseSender):
    """Writes files to the transport piece by piece; no byte gets past it.

    A thread reads what is not in memory. What is costs less to read than a thread does to wake up.
    """

    __slots__ = ()

    def try_send(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Write what is in memory, as long as the client takes it. Return the rest, or None."""
        unsent = deque(parts)
        self._write_ready(unsent)
        return unsent or None

    async def _send_all(self, unsent: deque[BodyPart]) -> None:
        while unsent:
            await self._wait_writable()
            if self._transport.is_closing():
                raise ConnectionAbortedError
            if ready := self._take_ready(unsent):
                self._write(ready)
                self._write_ready(unsent)
                if unsent:
                    await asyncio.sleep(0)
                continue
            part = unsent.popleft()
            if isinstance(part, BodyStream):
                await self._read_from_stream(part, unsent)
            elif isinstance(part, FileSlice):
                await self._read_from_disk(part, unsent)

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def _write_ready(self, unsent: deque[BodyPart]) -> None:
        """Write what is in memory, until the client has to read or others have their turn."""
        stop = self.bytes_sent + _MAX_BYTES_PER_TURN
        while (
            self.bytes_sent < stop
            and not self._transport.get_write_buffer_size()
            and (ready := self._take_ready(unsent))
        ):
            self._write(ready)

    def _take_ready(self, unsent: deque[BodyPart]) -> list[bytes]:
        """Take what is in memory from unsent, up to about _MAX_WRITE bytes.

        Raises EOFError if a file has become shorter than its part, or OSError.
        """
        ready: list[bytes] = []
        room = _MAX_WRITE
        while room > 0 and unsent and not isinstance(part := unsent[0], BodyStream):
            data = part if isinstance(part, bytes) else _read_from_memory(part, room)
            if data is None:
                break
            room -= len(data)
            ready.append(data)
            if len(data) == len(part):
                unsent.popleft()
            else:
                unsent[0] = skip_bytes(part, len(data))
        return ready

    def _write(self, ready: list[bytes]) -> None:
        self.bytes_sent += sum(map(len, ready))
        if len(ready) == 1:
            self._transport.write(ready[0])
        else:
            self._transport.writelines(ready)


def _read_from_memory(part: FileSlice, size: int) -> bytes | None:
    """Return the next bytes of a file, size at most; None if they may have to be waited for."""
    start = part.start
    # Windows begin at multiples of their size, so that a source answers for several pieces.
    stop = min(part.stop, (start // _WINDOW + 1) * _WINDOW)
    if not part.source.is_in_page_cache(start, stop):
        return None
    data = os.pread(part.source.fileno(), min(size, stop - start), start)
    if not data:
        raise file_ended(part)
    return data
