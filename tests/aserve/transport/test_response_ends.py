"""When a handler is told of the end of its response: on a transport that says what is left in it.

Under every model and over sockets: tests/aserve/seams/test_response_end.py.
"""

import asyncio
import threading

import pytest

from aserve.http.messages import BodyStream, Response
from tests.aserve.transport.fake_client import FakeClient, SlowTransport

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SIZE = 1_000
TURNS = 100  # of the loop, in which much more could happen than what must not
FAILED_AFTER = 30  # seconds: what does not come by then never does


class Ends:
    """What on_end was called with, and by which threads."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        self.threads: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def __call__(self, body_size: int, is_truncated: bool) -> None:
        self.threads.add(threading.current_thread().name)
        self._loop.call_soon_threadsafe(self.calls.put_nowait, (body_size, is_truncated))

    async def wait(self) -> tuple[int, bool]:
        async with asyncio.timeout(FAILED_AFTER):
            return await self.calls.get()


def response(kind: str, ends: Ends) -> Response:
    part = b"x" * SIZE if kind == "bytes" else BodyStream([b"x" * SIZE], may_wait=False)
    return Response(200, (), (part,), SIZE, on_end=ends)


KINDS = pytest.mark.parametrize("kind", ["bytes", "stream"])


@KINDS
async def test_the_end_comes_when_nothing_is_left_in_the_transport(kind: str) -> None:
    ends = Ends()
    client = FakeClient(lambda _: response(kind, ends), SlowTransport)
    client.send(GET)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert ends.calls.empty()
    assert isinstance(client.transport, SlowTransport)
    client.transport.drain()
    assert await ends.wait() == (SIZE, False)
    assert ends.threads == {"worker-0"}
    await client.close()
    assert ends.calls.empty()


@KINDS
async def test_what_was_left_in_the_transport_was_not_delivered(kind: str) -> None:
    ends = Ends()
    client = FakeClient(lambda _: response(kind, ends), SlowTransport)
    client.send(GET)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    client.transport.close()
    _, is_truncated = await ends.wait()
    assert is_truncated
    await client.close()
    assert ends.calls.empty()


@KINDS
async def test_a_small_body_may_be_a_file_and_needs_a_descriptor(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that wants to know the end may leave it in its file, however small it is."""
    ends = Ends()
    client = FakeClient(lambda _: response(kind, ends))
    monkeypatch.setattr(client.server.limiter, "reserve_descriptors", lambda *_: False)
    client.send(GET)
    assert await ends.wait() == (0, True)
    await client.close()


async def test_a_client_that_goes_before_anything_is_sent_is_an_end() -> None:
    ends = Ends()
    client = FakeClient(lambda _: response("stream", ends), SlowTransport)
    client.send(GET)  # the task that sends has not begun
    client.connection.connection_lost(None)
    assert await ends.wait() == (0, True)
    await client.close()
    assert ends.calls.empty()
