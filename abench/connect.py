"""How a connection to the server is opened: straight by lines of our own, or by the event loop."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from abench.lines import Client, Line, Lines
from abench.plan import Plan
from abench.target import Target


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
    context = tls_context(plan.target)
    return ByLoop(plan, context) if context else ByLines(plan)


def tls_context(target: Target) -> ssl.SSLContext | None:
    """Return how to verify the server, or None for a connection without encryption."""
    if not target.tls:
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class ByLines:
    """Plain connections, which cost little to open and to use."""

    def __init__(self, plan: Plan) -> None:
        host, port = plan.address or plan.target.host, plan.target.port
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._family: int = found[0][0]
        self._where: Any = found[0][4]
        self._lines = Lines(asyncio.get_running_loop())

    def dial(self, client: Opening) -> None:
        """Begin to connect, which may be done when this returns."""
        line = Line(self._lines, client, self._family, self._where)
        client.opening = line.give_up
        line.open()

    def close(self) -> None:
        """End every line."""
        self._lines.close()


class ByLoop:
    """Connections with TLS, which the loop's transports do."""

    def __init__(self, plan: Plan, context: ssl.SSLContext) -> None:
        self._plan = plan
        self._context = context
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
        target = self._plan.target
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: cast("asyncio.Protocol", client),
                self._plan.address or target.host,
                target.port,
                ssl=self._context,
                server_hostname=target.host,
            )
        except (OSError, asyncio.CancelledError):
            client.missed()
