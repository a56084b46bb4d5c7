"""Listening sockets that a service manager has opened for this process: sd_listen_fds(3)."""

import os
import socket
from collections.abc import MutableMapping
from itertools import chain, repeat

from aserve.config.settings import Settings
from aserve.server.listeners import ListenError

_FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}


def take_activated_sockets(
    settings: Settings, environment: MutableMapping[str, str] = os.environ
) -> list[socket.socket]:
    """Return the sockets that were opened for this process, [] for none.

    Raises ListenError for one that is no listening stream, and for settings that need another one.
    The variables are removed, so that no program takes the sockets for its own that this one
    starts.
    """
    pid, count, names, _ = (environment.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()):
        return []
    if not (count.isdecimal() and count.isascii()):
        raise ListenError("LISTEN_FDS", f"must be a number of sockets, not {count!r}")
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    if settings.http_redirect and int(count):
        reason = "needs a port of its own, and the sockets are those of a service manager; http on"
        raise ListenError("http_redirect", f"{reason} their ports is redirected without it")
    named = zip(descriptors, chain(names.split(":"), repeat("")), strict=False)
    return [_open(descriptor, name) for descriptor, name in named]


def _open(descriptor: int, name: str) -> socket.socket:
    described = f"descriptor {descriptor}{f' ({name})' if name else ''}"
    try:
        os.set_inheritable(descriptor, False)
        opened = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenError("LISTEN_FDS", f"{described} is no socket: {error.strerror}") from error
    if reason := _fault_of(opened):
        opened.close()
        raise ListenError("LISTEN_FDS", f"{described} {reason}")
    return opened


def _fault_of(opened: socket.socket) -> str:
    """Return why a socket cannot be accepted on, "" if it can."""
    if opened.type != socket.SOCK_STREAM:
        return "is a socket of datagrams or messages: use ListenStream="
    if opened.family not in _FAMILIES:
        return "is a socket of neither the internet nor a path"
    if not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "is a connection, and does not listen: use Accept=no"
    return ""
