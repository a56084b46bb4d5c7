"""What becomes of a takeover when its connection ends, stops or pauses at an awkward moment."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from aserve.http.messages import Response
from tests.aserve.transport.fake_client import FakeClient


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


class Client(FakeClient):
    """A client of a site whose response to everything is a takeover."""

    def __init__(self) -> None:
        self.takeover = Takeover()
        super().__init__(lambda _: Response(200, takeover=self.takeover))

    async def ask(self) -> list[str]:
        """Send a request; return the calls of its takeover up to the turn after the first one."""
        self.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await self.takeover.ended.wait()
        await asyncio.sleep(0)
        return self.takeover.calls


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    client = Client()
    yield client
    await client.close()


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
