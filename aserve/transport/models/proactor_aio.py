"""Half a proactor: files by completion, and sockets by readiness, as POSIX AIO is for files only.

A response waits for its file while all others are served, and no thread of ours waits with it.
"""

import socket
from functools import partial
from typing import Protocol

from aserve.http.messages import FileSlice, SizedPart
from aserve.http1.limits import Limits
from aserve.linux import posix_aio
from aserve.linux.posix_aio import AioReader
from aserve.policies.site import Site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingServer
from aserve.transport.observers import ResponseObserver
from aserve.transport.sending import file_ended, skip_bytes
from aserve.transport.socket_connection import SocketConnection

_BLOCK_SIZE = 131_072  # bytes of a file in memory at once, for each response

unavailable_reason = posix_aio.unavailable_reason


class AioProactorServer(MultiplexingServer):
    """epoll on one thread, which also reports completed file reads."""

    poller_class = EpollPoller

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        super().__init__(site.without_inlined_bodies(), limits, observer)

    def _start(self) -> None:
        self._file_reader = AioReader()
        self._call_when_readable(self._file_reader.fileno(), self._file_reader.process_completions)

    def _shutdown(self) -> None:
        super()._shutdown()
        self._file_reader.close()

    def _make_connection(self, sock: socket.socket, client: str) -> SocketConnection:
        return AioConnection(sock, client, self._context, self._file_reader, self._process)


class Process(Protocol):
    """Gives a connection its turn. descriptor is that of its socket, which may be closed by now."""

    def __call__(self, descriptor: int, connection: SocketConnection, *, readable: bool) -> None:
        """Let the connection write, and read if it may be readable."""


class AioConnection(SocketConnection):
    """A connection whose file parts would block until AIO has read them."""

    descriptors_per_file = 3  # the file's, and two for the pipe that reports a read

    def __init__(
        self,
        sock: socket.socket,
        client: str,
        context: ConnectionContext,
        file_reader: AioReader,
        process: Process,
    ) -> None:
        self._file_reader = file_reader
        self._process = process
        self._is_reading_file = False
        super().__init__(sock, client, context)

    @property
    def wants_write(self) -> bool:
        """Whether data waits for the client; waiting for the disk is not the client's delay."""
        return bool(self._outgoing) and not self._is_reading_file

    @property
    def _has_pending_io(self) -> bool:
        return self._is_reading_file

    def _send_part(self, part: SizedPart) -> None:
        if isinstance(part, bytes):
            super()._send_part(part)
            return
        if not self._is_reading_file:
            self._read_file(part)
        raise BlockingIOError

    def _read_file(self, part: FileSlice) -> None:
        stop = min(part.stop, part.start + _BLOCK_SIZE)
        self._file_reader.start_read(
            part.source, part.start, stop, partial(self._on_file_read, part)
        )
        self._is_reading_file = True

    def _on_file_read(self, part: FileSlice, data: bytes | OSError) -> None:
        self._is_reading_file = False
        if self._is_aborted:
            return
        descriptor = self.socket.fileno()
        self._handle_file_data(part, data)
        self._process(descriptor, self, readable=False)

    @isolate_errors
    def _handle_file_data(self, part: FileSlice, data: bytes | OSError) -> None:
        if isinstance(data, OSError):
            self._truncate(data)
        elif not data:
            self._truncate(file_ended(part))
        else:
            self._outgoing[0] = data
            if len(data) < len(part):
                self._outgoing.insert(1, skip_bytes(part, len(data)))
