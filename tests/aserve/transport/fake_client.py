"""A client of an event loop's server without a socket, whose end comes exactly when a test says."""

import asyncio
from collections.abc import Callable
from typing import Any

from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize


class FakeTransport(asyncio.Transport):
    """A transport that takes all data, and tells its protocol of its end in the next turn."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._is_closing = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: Any) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            loop = asyncio.get_running_loop()
            loop.call_soon(lambda: self._protocol.connection_lost(None))

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0


class SlowTransport(FakeTransport):
    """A transport that keeps all data until a test says that the kernel has taken it."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__(protocol)
        self._size = 0
        self._high = 65_536
        self._is_paused = False

    def write(self, data: Any) -> None:
        self._size += len(data)
        self._pause_if_full()

    def get_write_buffer_size(self) -> int:
        return self._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65_536 if high is None else high
        self._pause_if_full()

    def drain(self) -> None:
        self._size = 0
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()  # type: ignore[attr-defined]

    def _pause_if_full(self) -> None:
        if self._size > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()  # type: ignore[attr-defined]


class FakeClient:
    """A client, its connection, and the server, whose handler is a function."""

    def __init__(
        self,
        handle: Callable[[Request], Response],
        make_transport: Callable[[asyncio.BaseProtocol], FakeTransport] = FakeTransport,
    ) -> None:
        self._handle = handle
        self.server = EventLoopServer(Site(self, []), Limits(), PoolSize(1, 1))
        self.connection = Connection(self.server)
        self.transport = make_transport(self.connection)
        self.connection.connection_made(self.transport)

    def handle(self, request: Request, context: RequestContext) -> Response:
        return self._handle(request)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    async def close(self) -> None:
        self.transport.close()
        await self.server.stop(0)
