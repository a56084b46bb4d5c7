"""How a connection to the server is opened: by lines of our own, plain or with TLS."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from abench.lines import Client, Line, Lines
from abench.plan import Plan
from abench.tls_transport import Security, TlsTransport
from abench.tunnel import BLANK_LINE, MAX_HEAD_SIZE, check_grant


class Opening(Client, Protocol):
    """Who waits for a connection. opening: what gives up the attempt, while there is one."""

    opening: Callable[[], object] | None


def reach(plan: Plan) -> str:
    """Connect to the server once; return the address that answered, or the socket's path.

    Raises OSError when there is none.
    """
    if plan.route.unix is not None:
        _try(plan, socket.AF_UNIX, _path(plan.route.unix))
        return plan.route.unix
    host, port = plan.route.endpoint(plan.target)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, _, _, _, sockaddr in found:
        try:
            _try(plan, family, sockaddr)
        except OSError as error:
            failure = error
        else:
            return socket.getnameinfo(sockaddr, socket.NI_NUMERICHOST)[0]
    raise failure


def _try(plan: Plan, family: int, where: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(plan.timeout_s)
        sock.connect(where)
        if asking := plan.route.tunnel(plan.target):
            sock.sendall(asking)
            check_grant(_head(sock))
        if plan.target.tls:
            name = plan.tls.name or plan.target.host
            plan.tls.context().wrap_socket(sock, server_hostname=name).close()


def _head(sock: socket.socket) -> bytes:
    """Read up to the end of a head, and not an octet more: what follows is TLS's."""
    head = b""
    while not head.endswith(BLANK_LINE) and len(head) < MAX_HEAD_SIZE:
        octet = sock.recv(1)
        if not octet:
            break
        head += octet
    return head


def _path(unix: str) -> str:
    return f"\0{unix[1:]}" if unix.startswith("@") else unix


class Dialer:
    """Opens connections: each attempt ends in connection_made or in missed."""

    def __init__(self, plan: Plan) -> None:
        self._family: int
        self._where: Any
        if plan.route.unix is not None:
            self._family, self._where = socket.AF_UNIX, _path(plan.route.unix)
        else:
            host, port = plan.route.endpoint(plan.target)
            found = socket.getaddrinfo(plan.address or host, port, type=socket.SOCK_STREAM)
            self._family, self._where = found[0][0], found[0][4]
        self._lines = Lines(asyncio.get_running_loop())
        self._line = partial(TlsTransport, security=Security.of(plan)) if plan.target.tls else Line

    def dial(self, client: Opening) -> None:
        """Begin to connect, which may be done when this returns, and say how to give it up."""
        try:
            line = self._line(self._lines, client, self._family, self._where)
        except OSError as error:  # no descriptor is left
            client.missed(error.errno or 0)
            return
        client.opening = line.give_up
        line.open()

    def close(self) -> None:
        """End every line."""
        self._lines.close()
