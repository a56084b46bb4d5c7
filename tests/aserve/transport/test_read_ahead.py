"""What arrives of a body while its sink is busy goes to it at once, in few calls."""

import asyncio
import threading

import pytest

from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.connection import MAX_READ_AHEAD
from tests.aserve.transport.fake_client import FakeClient

TIMEOUT = 60.0
READ = 100_000  # bytes of one read: more than a connection buffers otherwise


class Sink:
    """Waits at a gate in its first write; all sizes are kept."""

    may_wait = True
    max_size = 1 << 30

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.gate, self.sizes = threading.Event(), list[int]()
        self.closed = asyncio.Event()
        self._loop = loop

    def begin(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))
        assert self.gate.wait(TIMEOUT)

    def respond(self) -> Response:
        return Response(201, length=0)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self.closed.set)


class Uploader(FakeClient):
    """A client whose bodies go to a sink, and its connection, which counts its pauses."""

    def __init__(self) -> None:
        self.sink = Sink(asyncio.get_running_loop())
        self.pauses = 0
        super().__init__(lambda _: Response(204))
        self.transport.pause_reading = self.pause  # type: ignore[method-assign]
        self.transport.resume_reading = lambda: None  # type: ignore[method-assign]

    def accept_body(self, _request: Request, _context: RequestContext) -> Sink:
        return self.sink

    def pause(self) -> None:
        self.pauses += 1


@pytest.mark.parametrize(
    ("reads", "later", "pauses"),
    [(4, [3 * READ], 0), (12, [8 * READ, 3 * READ], 1)],
    ids=["all that came", "as much as is read ahead"],
)
async def test_a_busy_sink_gets_what_came_meanwhile_at_once(
    reads: int, later: list[int], pauses: int
) -> None:
    client = Uploader()
    head = f"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {reads * READ}\r\n\r\n"
    client.send(head.encode() + bytes(READ))
    for _ in range(reads - 1):
        client.send(bytes(READ))
    assert client.pauses == pauses
    client.sink.gate.set()
    await client.sink.closed.wait()
    assert client.sink.sizes == [READ, *later]
    assert max(later) < MAX_READ_AHEAD + READ
    await client.close()


async def test_a_body_whose_client_goes_is_not_written_to_its_end() -> None:
    client = Uploader()
    client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + bytes(READ))
    client.send(bytes(READ))
    client.transport.close()
    await asyncio.sleep(0)
    client.sink.gate.set()
    await client.sink.closed.wait()
    assert client.sink.sizes in ([READ], [])
    await client.close()
