"""How a connection on an event loop sends its responses: at once, or in a task."""

import asyncio
from collections import deque
from collections.abc import Sequence

from aserve.http.messages import BodyPart, FileSlice
from aserve.transport.eventloop.connection_host import ConnectionHost
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.server_connection import ServerConnection


class ResponseWriter(ServerConnection, asyncio.Protocol):
    """The sending half of a connection: what does not fit into one write leaves by a FileSender."""

    __slots__ = (
        "_bytes_written",
        "_file_sender",
        "_host",
        "_task",
        "_transport",
        "_write_resumed",
    )

    # Connection sets them all, which saves each client a call.
    _bytes_written: int
    """Bytes written to the transport, in total."""
    _file_sender: FileSender | None
    """Set by the first response that takes several writes."""
    _host: ConnectionHost
    _task: asyncio.Task[None] | None
    """Sends the rest of a response, or opens a tunnel."""
    _transport: asyncio.Transport
    _write_resumed: asyncio.Event | None
    """Set while writing is paused."""

    # Called by the event loop.

    def pause_writing(self) -> None:
        """Stop writing: the client reads more slowly than we write."""
        self._write_resumed = asyncio.Event()

    @isolate_errors
    def resume_writing(self) -> None:
        """Continue where writing was paused."""
        if self._write_resumed:
            self._write_resumed.set()
            self._write_resumed = None
        self._process_requests()

    # The accounts that ServerConnection keeps.

    @property
    def client(self) -> str:
        """The client's address, or "-" if it has none."""
        if not self._client:
            peer = self._transport.get_extra_info("peername")
            self._client = peer[0] if isinstance(peer, tuple) and peer else "-"
        return self._client

    def _total_sent(self) -> int:
        """Return how many bytes were handed to the transport or the kernel."""
        return self._bytes_written + (self._file_sender.bytes_sent if self._file_sender else 0)

    def _total_delivered(self) -> int:
        return self._total_sent() - self._transport.get_write_buffer_size()

    @property
    def _is_blocked(self) -> bool:
        file_sender = self._file_sender
        return self._transport.get_write_buffer_size() > 0 or (
            file_sender is not None and file_sender.is_blocked
        )

    @property
    def _has_pending_io(self) -> bool:
        return self._task is not None

    def _close(self) -> None:
        self._transport.close()

    def _abort_response(self) -> None:
        if self.is_responding and not self._task:  # the task records its own response
            self._record_truncated(self._status or 500, 0)
        self._cancel_turn()
        self.abort()

    def _shutdown_write(self) -> None:
        try:
            self._transport.write_eof()
        except OSError:  # asyncio calls shutdown at once, which fails with ENOTCONN after a reset
            self._transport.abort()

    # Sending.

    def _write(self, data: bytes) -> None:
        self._bytes_written += len(data)
        self._transport.write(data)

    def _start_sending(self, parts: Sequence[BodyPart]) -> deque[BodyPart] | None:
        """Send what can be sent without waiting. Return the unsent parts, or None."""
        file_sender = self._file_sender
        self._response_start = self._bytes_written + (file_sender.bytes_sent if file_sender else 0)
        if len(parts) == 1 and isinstance(parts[0], bytes):
            self._write(parts[0])
            return None
        if self._transport.is_closing():
            return deque(parts)
        try:
            return (file_sender or self._get_file_sender()).try_send(parts)
        except (OSError, EOFError) as error:
            self._truncate(error)
            return deque(parts)

    def _get_file_sender(self) -> FileSender:
        """Return the connection's FileSender, which is made once."""
        if not self._file_sender:
            host = self._host
            self._file_sender = FileSender(
                self._transport, host.thread_pool, host.write_readiness, self._wait_writable
            )
        return self._file_sender

    def _send_remainder(self, unsent: deque[BodyPart] | None, status: int, body_size: int) -> None:
        """Send the unsent parts of a response in a task, or finish it if there are none."""
        self._status = status
        if unsent and self._transport.is_closing():
            self._record_truncated(status, body_size - sum(map(len, unsent)))
        elif unsent:
            self._task = self._host.loop.create_task(
                self._send(self._get_file_sender(), unsent, status, body_size)
            )
        else:
            self._response_sent(status, body_size)

    async def _wait_writable(self) -> None:
        if self._write_resumed:
            await self._write_resumed.wait()

    async def _send(
        self, file_sender: FileSender, unsent: deque[BodyPart], status: int, body_size: int
    ) -> None:
        """Send the rest of a response, as fast as the client and the disk allow."""
        before, missing = file_sender.bytes_sent, sum(map(len, unsent))
        files = [part.source for part in unsent if isinstance(part, FileSlice)]
        try:
            await file_sender.send(unsent)
        except asyncio.CancelledError:
            self._record_truncated(status, body_size - missing + file_sender.bytes_sent - before)
            raise
        except Exception as error:  # noqa: BLE001 - an internal error ends the same way
            # Close, so that the client sees that the response is shorter than its Content-Length.
            self._record_truncated(status, body_size - missing + file_sender.bytes_sent - before)
            self._truncate(error)
        else:
            self._task = None
            self._finish_response(status, body_size)
        finally:
            for file in files:
                if not file.is_local:  # closing a remote file may wait for the network
                    self._host.thread_pool.submit(file.close)

    @isolate_errors
    def _finish_response(self, status: int, body_size: int) -> None:
        self._response_sent(status, body_size)
        self._process_requests()
