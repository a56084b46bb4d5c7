"""Half a proactor: sockets by readiness, since POSIX AIO knows none, and files by completion.

A reply waits for its file while everybody else goes on, and no thread of ours waits with it.
"""

import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from aserve.handlers.static_site import StaticSite
from aserve.http.messages import BodyPart, FileSlice
from aserve.http1.limits import Limits
from aserve.linux import posix_aio
from aserve.linux.posix_aio import AioReader
from aserve.transport.eventloop.connection_host import ReportRemaining, ResponseObserver
from aserve.transport.internal_errors import isolate_errors
from aserve.transport.models.epoll import EpollPoller
from aserve.transport.multiplexing import MultiplexingServer
from aserve.transport.socket_connection import ConnectionContext, SocketConnection

_BLOCK_SIZE = 131_072  # octets of a file in memory at once, for each reply

unavailable_reason = posix_aio.unavailable_reason


class AioProactorServer(MultiplexingServer):
    """epoll on one thread, which is also told of reads that are complete."""

    def __init__(
        self, site: StaticSite, limits: Limits, observe: ResponseObserver | None = None
    ) -> None:
        super().__init__(EpollPoller(), site.without_inlined_bodies(), limits, observe)

    def run(
        self,
        listeners: Sequence[socket.socket],
        control_fds: tuple[int, ...],
        grace: float,
        report_remaining: ReportRemaining | None = None,
    ) -> None:
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
        """
        self._file_reader = AioReader()
        self._callbacks[self._file_reader.fileno()] = self._file_reader.process_completions
        self._poller.register(self._file_reader.fileno(), readable=True, writable=False)
        try:
            super().run(listeners, control_fds, grace, report_remaining)
        finally:
            self._file_reader.close()

    def _make_connection(self, connection: socket.socket, client: str) -> SocketConnection:
        return AioConnection(connection, client, self._context, self._file_reader, self._process)


class Process(Protocol):
    """Lets a conversation have its turn, whose socket is or was a descriptor."""

    def __call__(self, descriptor: int, talk: SocketConnection, *, readable: bool) -> None:
        """Let it write, and read if there may be something."""


class AioConnection(SocketConnection):
    """A conversation for which a file's octets would block until they have been fetched."""

    descriptors_per_file = 3  # the file's, and two of the pipe that tells of a read

    def __init__(
        self,
        connection: socket.socket,
        client: str,
        house: ConnectionContext,
        reads: AioReader,
        go_on: Process,
    ) -> None:
        self._file_reader = reads
        self._process = go_on
        self._is_reading_file = False
        super().__init__(connection, client, house)

    @property
    def wants_write(self) -> bool:
        """Whether octets wait for the client; while they wait for a disk, it is not its fault."""
        return bool(self._outgoing) and not self._is_reading_file

    @property
    def _has_pending_io(self) -> bool:
        return self._is_reading_file

    def _send_part(self, piece: BodyPart) -> None:
        if isinstance(piece, bytes):
            super()._send_part(piece)
            return
        if not self._is_reading_file:
            self._read_file(piece)
        raise BlockingIOError

    def _read_file(self, piece: FileSlice) -> None:
        stop = min(piece.stop, piece.start + _BLOCK_SIZE)
        self._file_reader.start_read(
            piece.source, piece.start, stop, partial(self._on_file_read, piece)
        )
        self._is_reading_file = True

    def _on_file_read(self, piece: FileSlice, octets: bytes | OSError) -> None:
        self._is_reading_file = False
        if self._is_aborted:
            return
        descriptor = self.socket.fileno()
        self._handle_file_data(piece, octets)
        self._process(descriptor, self, readable=False)

    @isolate_errors
    def _handle_file_data(self, piece: FileSlice, octets: bytes | OSError) -> None:
        if isinstance(octets, OSError):
            self._truncate(octets)
        elif not octets:
            self._truncate(EOFError(f"the file ended {len(piece)} octets early"))
        else:
            self._outgoing[0] = octets
            if len(octets) < len(piece):
                start = piece.start + len(octets)
                self._outgoing.insert(1, FileSlice(piece.source, start, piece.stop))
