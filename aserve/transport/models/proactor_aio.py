"""Half a proactor: files by completion, and sockets by readiness, as POSIX AIO is for files only.

A response waits for its file while all others are served, and no thread of ours waits with it.
"""

import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from aserve.http.messages import BodyPart, FileSlice
from aserve.http1.limits import Limits
from aserve.linux import posix_aio
from aserve.linux.posix_aio import AioReader
from aserve.policies.site import Site
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingServer
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

_BLOCK_SIZE = 131_072  # bytes of a file in memory at once, for each response

unavailable_reason = posix_aio.unavailable_reason


class AioProactorServer(MultiplexingServer):
    """epoll on one thread, which also reports completed file reads."""

    def __init__(
        self, site: Site, limits: Limits, observer: ResponseObserver | None = None
    ) -> None:
        super().__init__(EpollPoller(), site.without_inlined_bodies(), limits, observer)

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until a byte or the end of file arrives on a control descriptor.

        The first one stops gracefully: responses that are being sent get grace seconds more, and
        report_remaining is called with their number. The second one stops at once.
        """
        self._file_reader = AioReader()
        self._callbacks[self._file_reader.fileno()] = self._file_reader.process_completions
        self._poller.register(self._file_reader.fileno(), readable=True, writable=False)
        try:
            super().run(listeners, control_fds, grace, report_remaining)
        finally:
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

    def _send_part(self, part: BodyPart) -> None:
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
            self._truncate(EOFError(f"the file ended {len(part)} bytes early"))
        else:
            self._outgoing[0] = data
            if len(data) < len(part):
                start = part.start + len(data)
                self._outgoing.insert(1, FileSlice(part.source, start, part.stop))
