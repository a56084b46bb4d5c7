"""The socket by which `aserve reload` reaches a server, and learns what has become of it.

It has no file: an abstract name (unix(7)) is gone with its process, cannot be left behind, and
needs no directory that may be written to, which a container may not have. The name says the process
and its port. Only the user of the server and root are heard, and only they are believed: the kernel
says who the other end is (SO_PEERCRED).
"""

import errno
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_logger = logging.getLogger("aserve")

_CREDENTIALS = struct.Struct("3i")  # process, user, group
_NAME = re.compile(r"@aserve-(\d+)-(\d+)$", re.MULTILINE)
_MAX_MESSAGE = 65_536
_MAX_WAITING = 128
_ANSWER_TRIES = 3  # a program that is started anew takes those along that it has accepted
_CONNECT_TRIES, _CONNECT_PAUSE_S = 20, 0.05  # while the queue of a server is full
_RELOAD = b"reload"
_DONE = b"done"
_OF_ANOTHER_USER = b"it belongs to another user"


class RunningServer(NamedTuple):
    """A server that runs on this machine."""

    pid: int
    port: int


class ControlSocket:
    """The server's end: a listening socket, which has no connections that last."""

    def __init__(self, port: int, descriptor: int = -1) -> None:
        if descriptor >= 0:
            self._socket = socket.socket(fileno=descriptor)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.bind(_address(RunningServer(os.getpid(), port)))
            self._socket.listen(_MAX_WAITING)
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when a client has connected."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The port in its name, by which `aserve reload` chooses."""
        return int(self._socket.getsockname().rpartition(b"-")[2])

    def accept(self) -> "list[ControlClient]":
        """Return the clients that have connected, as far as they are the server's user or root."""
        clients = []
        with suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                if _peer_user(client) in {0, os.geteuid()}:
                    clients.append(ControlClient(client))
                else:
                    client.close()
        return clients

    def close(self) -> None:
        """Be found no more."""
        self._socket.close()


def open_control_socket(port: int, descriptor: int = -1) -> ControlSocket | None:
    """Return the socket of a server that listens on a port; None where that is not possible.

    descriptor: of the socket of the program before this one, -1 for none.
    """
    try:
        return ControlSocket(port, descriptor)
    except OSError as error:
        _logger.warning("`aserve reload` cannot reach this server: %s", error.strerror)
        return None


class ControlClient:
    """A client that has connected to a server, and may ask for a reload."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when the client has said something, or is gone."""
        return self._socket.fileno()

    def has_asked(self) -> bool:
        """Tell whether it asks for a reload."""
        with suppress(OSError):
            return self._socket.recv(_MAX_MESSAGE) == _RELOAD
        return False

    def answer(self, reason: str) -> None:
        """Say why nothing has changed, or by "" that every next request is served anew."""
        with suppress(OSError):
            self._socket.send(reason.encode()[:_MAX_MESSAGE] or _DONE)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def find_servers(port: int | None = None) -> list[RunningServer]:
    """Return the servers of this user, for root those of all users. port: only those on this one.

    One that hangs, and takes no more requests, is not among them.
    """
    names = Path("/proc/net/unix").read_text("utf-8", "replace")
    found = {RunningServer(int(pid), int(its_port)) for pid, its_port in _NAME.findall(names)}
    return sorted(one for one in found if port in {None, one.port} and _is_ours(one))


def request_reload(server: RunningServer) -> str:
    """Have a server reload; return why nothing has changed, "" once every next request follows.

    Raises OSError if it cannot be reached.
    """
    with suppress(ConnectionRefusedError):
        for _ in range(_ANSWER_TRIES):
            if answer := next(map(_ask, _connect(server)), _OF_ANOTHER_USER):
                return "" if answer == _DONE else answer.decode("utf-8", "replace")
    return "the server has ended"


def _ask(client: socket.socket) -> bytes:
    """Return the answer, b"" from a program that has ended meanwhile."""
    with suppress(ConnectionResetError, BrokenPipeError):
        client.send(_RELOAD)
        return client.recv(_MAX_MESSAGE)
    return b""


def _is_ours(server: RunningServer) -> bool:
    try:
        return any(_connect(server))
    except OSError:
        return False


def _connect(server: RunningServer) -> Iterator[socket.socket]:
    """Yield a connection to a server, unless another user claims to be that server."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        _connect_soon(client, server)
        user = os.geteuid()
        if user in {0, _peer_user(client)}:  # the server hears no others
            yield client


def _connect_soon(client: socket.socket, server: RunningServer) -> None:
    """Connect, or raise OSError where the server has taken no requests for a while: it hangs."""
    client.setblocking(False)  # a connect that waits for the queue may wait forever
    for _ in range(_CONNECT_TRIES):
        with suppress(BlockingIOError):
            client.connect(_address(server))
            client.setblocking(True)
            return
        time.sleep(_CONNECT_PAUSE_S)
    raise TimeoutError(errno.ETIMEDOUT, "the server hangs")


def _address(server: RunningServer) -> bytes:
    return b"\0aserve-%d-%d" % server


def _peer_user(sock: socket.socket) -> int:
    size = _CREDENTIALS.size
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(_CREDENTIALS.unpack(credentials)[1])
