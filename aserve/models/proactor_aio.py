"""Half a proactor: sockets by readiness, since POSIX AIO knows none, and files by completion.

A reply waits for its file while everybody else goes on, and no thread of ours waits with it.
"""

import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from aserve.models import aio
from aserve.models.aio import FileReads
from aserve.models.by_epoll import Epoll
from aserve.models.conversation import Conversation, House
from aserve.models.faults import contained
from aserve.models.multiplexing import Multiplexer
from aserve.models.owner import Observe, TellRemaining
from aserve.semantics.messages import FileSlice, Piece
from aserve.site.answer import Site
from aserve.wire.limits import Limits

_BLOCK = 131_072  # octets of a file in memory at once, for each reply

why_not = aio.why_not


class Model(Multiplexer):
    """epoll on one thread, which is also told of reads that are complete."""

    def __init__(self, site: Site, limits: Limits, observe: Observe | None = None) -> None:
        super().__init__(Epoll(), site.unread(), limits, observe)

    def run(
        self,
        listeners: Sequence[socket.socket],
        orders: tuple[int, ...],
        grace: float,
        tell: TellRemaining | None = None,
    ) -> None:
        """Serve until an octet, or the end, arrives at one of orders; a second one ends at once.

        grace: seconds that replies under way get after the first; tell: is told of them.
        """
        self._reads = FileReads()
        self._calls[self._reads.fileno()] = self._reads.complete
        self._poller.watch(self._reads.fileno(), reads=True, writes=False)
        try:
            super().run(listeners, orders, grace, tell)
        finally:
            self._reads.close()

    def _converse(self, connection: socket.socket, client: str) -> Conversation:
        return _Talk(connection, client, self._house, self._reads, self._go_on)


class GoOn(Protocol):
    """Lets a conversation have its turn, whose socket is or was a descriptor."""

    def __call__(self, descriptor: int, talk: Conversation, *, readable: bool) -> None:
        """Let it write, and read if there may be something."""


class _Talk(Conversation):
    """A conversation for which a file's octets would block until they have been fetched."""

    file_descriptors = 3  # the file's, and two of the pipe that tells of a read

    def __init__(
        self,
        connection: socket.socket,
        client: str,
        house: House,
        reads: FileReads,
        go_on: GoOn,
    ) -> None:
        self._reads = reads
        self._go_on = go_on
        self._fetches = False
        super().__init__(connection, client, house)

    @property
    def writes(self) -> bool:
        """Whether octets wait for the client; while they wait for a disk, it is not its fault."""
        return bool(self._left) and not self._fetches

    @property
    def _is_busy(self) -> bool:
        return self._fetches

    def _put(self, piece: Piece) -> None:
        if isinstance(piece, bytes):
            super()._put(piece)
            return
        if not self._fetches:
            self._fetch(piece)
        raise BlockingIOError

    def _fetch(self, piece: FileSlice) -> None:
        stop = min(piece.stop, piece.start + _BLOCK)
        self._reads.read(piece.content, piece.start, stop, partial(self._fetched, piece))
        self._fetches = True

    def _fetched(self, piece: FileSlice, octets: bytes | OSError) -> None:
        self._fetches = False
        if self._is_gone:
            return
        descriptor = self.socket.fileno()
        self._receive_file(piece, octets)
        self._go_on(descriptor, self, readable=False)

    @contained
    def _receive_file(self, piece: FileSlice, octets: bytes | OSError) -> None:
        if isinstance(octets, OSError):
            self._cut_short(octets)
        elif not octets:
            self._cut_short(EOFError(f"the file ended {len(piece)} octets early"))
        else:
            self._left[0] = octets
            if len(octets) < len(piece):
                start = piece.start + len(octets)
                self._left.insert(1, FileSlice(piece.content, start, piece.stop))
