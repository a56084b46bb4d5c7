"""What becomes of a takeover when its connection ends, stops or pauses at an awkward moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize


class Transport(asyncio.Transport):
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


class Takeover(asyncio.Protocol):
    """Notes its calls. during: run in prepare."""

    needs_descriptor = False

    def __init__(self, during: Callable[[], object] = bool, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self.ended = asyncio.Event()
        self._during = during
        self._fails = fails
        self._on_closed: Callable[[Exception | None], None] | None = None

    async def prepare(self) -> None:
        self._during()

    def start(
        self,
        transport: asyncio.Transport,
        received: bytes,
        *,
        has_ended: bool,
        on_closed: Callable[[Exception | None], None],
    ) -> None:
        transport.set_protocol(self)
        self._note("start")
        if self._fails:
            raise ZeroDivisionError
        self._on_closed = on_closed

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self.ended.set()

    def pause_writing(self) -> None:
        self._note("pause_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._on_closed:
            self._on_closed(exc)

    def tick(self) -> None:
        pass

    def stop(self) -> None:
        self._note("stop")

    def abort(self) -> None:
        self._note("abort")


class Client:
    """A client of a site whose response to everything is a takeover, and its connection."""

    def __init__(self) -> None:
        self.takeover = Takeover()
        self.server = EventLoopServer(Site(self, []), Limits(), PoolSize(1, 1))
        self.connection = Connection(self.server)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)

    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(200, takeover=self.takeover)

    async def ask(self) -> list[str]:
        """Send a request; return the calls of its takeover up to the turn after the first one."""
        self.connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await self.takeover.ended.wait()
        await asyncio.sleep(0)
        return self.takeover.calls


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    client.transport.close()
    await client.server.stop(0)


async def test_a_takeover_that_fails_to_start_releases_its_connection(client: Client) -> None:
    client.takeover = Takeover(fails=True)
    assert await client.ask() == ["start", "abort"]
    assert not client.server.connections


async def test_a_takeover_is_aborted_if_the_client_goes_away_first(client: Client) -> None:
    client.transport.close()
    assert await client.ask() == ["abort"]
    assert not client.server.connections


async def test_a_takeover_that_is_prepared_while_the_server_stops_is_stopped(
    client: Client,
) -> None:
    client.takeover = Takeover(client.connection.close_after_response)
    assert await client.ask() == ["start", "stop"]


async def test_a_takeover_learns_that_writing_is_paused(client: Client) -> None:
    client.takeover = Takeover(client.connection.pause_writing)
    assert await client.ask() == ["start", "pause_writing"]


async def test_a_takeover_goes_on_though_its_request_says_close(client: Client) -> None:
    assert await client.ask() == ["start"]
