"""Orders to the processes that serve: other settings, in two steps, so that all follow or none.

What manages a server reads the settings once and passes them on, so that all workers have the
same ones, whatever becomes of the file meanwhile. A worker prepares what they need and replies;
only when each one has, the second order has them serve with it.
"""

import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from aserve.config.settings import Settings

_MAX_MESSAGE = 4_096
_STARTED = 0  # the number of what a worker says without an order
_TIMEOUT_S = 60.0  # for a reply: a worker whose disk hangs must not keep all others


class Kind(bytes, Enum):
    """What is ordered."""

    PREPARE = b"prepare"
    COMMIT = b"commit"
    DISCARD = b"discard"
    ASK = b"ask"
    """Whether the worker still serves: it replies from where it serves."""


class Order(NamedTuple):
    """An order, as a worker gets it. number: what its reply has. settings: those to be prepared."""

    kind: Kind
    number: int
    settings: Settings | None = None


class _Reply(NamedTuple):
    """A reply. number: of the order. reason: why it was not carried out, "" if it was."""

    number: int
    reason: str = ""


class ReloadError(Exception):
    """A reload that did not happen: all serve on as before. The text says why."""


class WorkerLink:
    """The manager's end of the socket by which one worker gets its orders."""

    def __init__(self, sock: socket.socket, *, has_started: bool = False) -> None:
        self._own = sock
        self._number = _STARTED  # of the last order
        self.is_serving = has_started
        """Whether the worker has said that it serves."""
        self.has_answered = True
        """Whether it has said anything since it was asked."""

    @classmethod
    def pair(cls) -> tuple["WorkerLink", "OrderReceiver"]:
        """Return both ends of a new link."""
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(own), OrderReceiver(other)

    def fileno(self) -> int:
        """Return the descriptor of this end."""
        return self._own.fileno()

    def close(self) -> None:
        """Close this end."""
        self._own.close()

    def wait_started(self) -> str | None:
        """Wait until the worker serves; return why it does not, as reply does."""
        return "" if self.is_serving else self.reply()

    def ask(self) -> None:
        """Have the worker say that it still serves."""
        self.has_answered = False
        self.send(Kind.ASK)

    def read_replies(self) -> None:
        """Take note of what the worker has said, without waiting. No reply to an order is due."""
        poll = select.poll()
        poll.register(self._own, select.POLLIN)
        while poll.poll(0) and self._receive():
            pass

    def send(self, kind: Kind, settings: int | None = None) -> None:
        """Send an order. settings: a descriptor that has them, for PREPARE."""
        self._number = time.monotonic_ns()  # which no order before has, nor one of a former program
        message = b"%s %d" % (kind.value, self._number)
        with suppress(OSError):  # it has ended; the reply says so
            socket.send_fds(self._own, [message], () if settings is None else (settings,))

    def send_settings(self, settings: Settings) -> None:
        """Order to prepare what settings need."""
        descriptor = write_settings(settings)
        try:
            self.send(Kind.PREPARE, descriptor)
        finally:
            os.close(descriptor)

    def reply(self) -> str | None:
        """Wait for the reply; return why the worker cannot, "" if it can, None if it has ended.

        Replies to former orders, which came too late, are skipped.
        """
        poll = select.poll()
        poll.register(self._own, select.POLLIN)
        while poll.poll(_TIMEOUT_S * 1_000):
            if not (reply := self._receive()):
                return None
            if reply.number == self._number:
                return reply.reason
        return f"a worker has not replied for {_TIMEOUT_S:.0f} s"

    def _receive(self) -> "_Reply | None":
        """Return the next reply; None from a worker that has ended."""
        try:
            message = self._own.recv(_MAX_MESSAGE)
        except ConnectionError:
            return None
        if not message:
            return None
        number, _, reason = message.partition(b" ")
        reply = _Reply(int(number), reason.decode("utf-8", "replace"))
        self.has_answered = True
        if reply == _Reply(_STARTED):
            self.is_serving = True
        return reply


class OrderReceiver:
    """A worker's end of that socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is an order."""
        return self._socket.fileno()

    def end(self) -> None:
        """Take no more orders: the manager is told so, and a thread that waits for one returns."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def receive(self) -> Order | None:
        """Wait for an order; None once the manager has gone."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._socket, _MAX_MESSAGE, 1)
        except OSError:
            return None
        settings = [read_settings_from(descriptor) for descriptor in descriptors]
        kind, _, number = message.partition(b" ")
        return Order(Kind(kind), int(number), *settings) if message else None

    def reply_started(self) -> None:
        """Say that this worker serves."""
        self._send(_STARTED, "")

    def reply(self, order: Order, reason: str = "") -> None:
        """Say that an order is carried out, or why it is not."""
        self._send(order.number, reason)

    def _send(self, number: int, reason: str) -> None:
        with suppress(OSError):  # the manager has gone, and this worker is about to be told
            self._socket.send((b"%d " % number + reason.encode())[:_MAX_MESSAGE])


def write_settings(settings: Settings) -> int:
    """Return the descriptor of a file in memory that has settings, for the caller to close."""
    descriptor = os.memfd_create("aserve-settings", os.MFD_CLOEXEC)
    import pickle

    data = memoryview(pickle.dumps(settings))
    while data:
        data = data[os.write(descriptor, data) :]
    return descriptor


def read_settings_from(descriptor: int) -> Settings:
    """Read settings from the descriptor of such a file, and close it."""
    import pickle

    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        settings = pickle.loads(file.read())  # noqa: S301 - written by our own parent
    assert isinstance(settings, Settings)  # noqa: S101 - write_settings's
    return settings


def reload_workers(
    pairs: Sequence[tuple[WorkerLink, Settings]], optional: Sequence[WorkerLink] = ()
) -> None:
    """Have each worker serve with other settings, at the same time.

    Raises ReloadError if one cannot: then none does. One that has ended is no obstacle. optional:
    workers that need not follow.
    """
    links = [link for link, _ in pairs]
    reasons = [link.wait_started() for link in links]
    if not any(reasons):
        for link, settings in pairs:
            link.send_settings(settings)
        reasons = [link.reply() for link in links]
    reasons = [reason for link, reason in zip(links, reasons, strict=True) if link not in optional]
    if reason := next(filter(None, reasons), None):
        for link in links:
            link.send(Kind.DISCARD)
        raise ReloadError(reason)
    for link in links:
        link.send(Kind.COMMIT)
    for link in links:
        link.reply()
