"""How a connection to the server is opened: straight by lines of our own, or by the event loop."""

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any, Protocol, cast

from abench.lines import Client, Line, Lines
from abench.plan import Plan

_GRANTED = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")
_REFUSED = re.compile(rb"HTTP/1\.[01] (\d\d\d)")
_LONGEST_GRANT = 65_536  # octets of a proxy's answer
_BLANK_LINE = b"\r\n\r\n"


class Opening(Client, Protocol):
    """Who waits for a connection. opening: what gives up the attempt, while there is one."""

    opening: Callable[[], object] | None


class Dialer(Protocol):
    """Opens connections: each attempt ends in connection_made or in missed."""

    def dial(self, client: Opening) -> None:
        """Begin an attempt, and tell the client how to give it up."""

    def close(self) -> None:
        """End what is still under way."""


def dialer(plan: Plan) -> Dialer:
    """Return what opens the connections of `plan` on the running loop."""
    return ByLoop(plan) if plan.target.tls else ByLines(plan)


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
            _check_grant(_head(sock))
        if plan.target.tls:
            name = plan.tls.name or plan.target.host
            plan.tls.context().wrap_socket(sock, server_hostname=name).close()


def _head(sock: socket.socket) -> bytes:
    """Read up to the end of a head, and not an octet more: what follows is TLS's."""
    head = b""
    while not head.endswith(_BLANK_LINE) and len(head) < _LONGEST_GRANT:
        octet = sock.recv(1)
        if not octet:
            break
        head += octet
    return head


def _check_grant(head: bytes) -> None:
    if not _GRANTED.match(head):
        line = head.partition(b"\r\n")[0].decode("latin-1") or "nothing"
        status = _REFUSED.match(head)
        reason = f"proxy {status[1].decode()}" if status else "proxy"
        raise ProxyError(f"the proxy's answer to CONNECT is {line[:80]!a}", reason)


class ProxyError(ConnectionError):
    """A proxy that opens no tunnel; `reason` is short, and counted."""

    def __init__(self, why: str, reason: str) -> None:
        super().__init__(why)
        self.reason = reason


def _reason(error: OSError) -> str:
    """Return TLS's or the proxy's own word for it; "" where the system's number tells."""
    if reason := getattr(error, "reason", None):
        return str(reason)
    # Without a number it is asyncio's own, for a handshake that the server has ended.
    return "" if error.errno or isinstance(error, TimeoutError) else "closed in the handshake"


def _path(unix: str) -> str:
    return f"\0{unix[1:]}" if unix.startswith("@") else unix


class ByLines:
    """Plain connections, which cost little to open and to use."""

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

    def dial(self, client: Opening) -> None:
        """Begin to connect, which may be done when this returns."""
        try:
            line = Line(self._lines, client, self._family, self._where)
        except OSError as error:  # no descriptor is left
            client.missed(error.errno or 0)
            return
        client.opening = line.give_up
        line.open()

    def close(self) -> None:
        """End every line."""
        self._lines.close()


class ByLoop:
    """Connections with TLS, which the loop's transports do."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._context = plan.tls.context()
        self._name = plan.tls.name or plan.target.host
        self._asking = plan.route.tunnel(plan.target)
        self._tasks: set[asyncio.Task[None]] = set()

    def dial(self, client: Opening) -> None:
        """Begin to connect."""
        task = asyncio.get_running_loop().create_task(self._connect(client))
        client.opening = task.cancel
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End every attempt."""
        for task in self._tasks:
            task.cancel()

    async def _connect(self, client: Opening) -> None:
        try:
            await self._open(cast("asyncio.Protocol", client))
        except OSError as error:
            reason = _reason(error)
            said = error.strerror or str(error) or reason
            client.missed(error.errno or 0, reason, said)
        except asyncio.CancelledError:
            client.missed()

    async def _open(self, client: asyncio.Protocol) -> None:
        loop, route = asyncio.get_running_loop(), self._plan.route
        if self._asking:
            await self._open_tunnel(client)
        elif route.unix is not None:
            await loop.create_unix_connection(
                lambda: client, _path(route.unix), ssl=self._context, server_hostname=self._name
            )
        else:
            host, port = route.endpoint(self._plan.target)
            await loop.create_connection(
                lambda: client,
                self._plan.address or host,
                port,
                ssl=self._context,
                server_hostname=self._name,
            )

    async def _open_tunnel(self, client: asyncio.Protocol) -> None:
        """Have the proxy open a tunnel, and speak TLS through it."""
        loop = asyncio.get_running_loop()
        host, port = self._plan.route.endpoint(self._plan.target)
        transport, answer = await loop.create_connection(Answer, self._plan.address or host, port)
        try:
            transport.write(self._asking)
            _check_grant(await answer.head)
            secured = await loop.start_tls(
                transport, client, self._context, server_hostname=self._name
            )
        except BaseException:
            transport.abort()
            raise
        if secured is None:
            raise ConnectionError("the tunnel has ended")
        client.connection_made(secured)


class Answer(asyncio.Protocol):
    """What a proxy says to CONNECT, before the tunnel."""

    def __init__(self) -> None:
        self.head: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._octets = b""

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer."""
        self._octets += data
        if (self._octets.endswith(_BLANK_LINE) or len(self._octets) > _LONGEST_GRANT) and (
            not self.head.done()
        ):
            self.head.set_result(self._octets)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of the connection."""
        if not self.head.done():
            self.head.set_exception(
                exc or ProxyError("the proxy has closed the connection", "proxy closed")
            )
