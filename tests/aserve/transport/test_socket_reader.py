"""The rest of a body is read from the socket by the thread that stores it, and nothing else is."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, Request, Response
from aserve.http1.states import State
from aserve.transport.eventloop import socket_reader
from aserve.transport.eventloop.socket_reader import SocketReader
from tests.aserve.transport.fake_client import FakeClient

TIMEOUT = 60.0
FIRST = bytes(1_000)  # of a body, with its head
FAST = bytes(40_000)  # what a fast client has sent when a thread looks
LONG = 10_000_000


class Sink:
    """Keeps all sizes. Waits at a gate in its first write, and raises an error in a later one."""

    may_wait = True
    max_size = 1 << 30

    def __init__(self, *, raises_at: int = 0) -> None:
        self.gate, self.writing = threading.Event(), threading.Event()
        self.sizes = list[int]()
        self.is_closed = False
        self._raises_at = raises_at

    def begin(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.writing.set()
        assert self.gate.wait(TIMEOUT)
        if len(self.sizes) == self._raises_at:
            raise HttpError(507, "The disk is full.", close=True)

    def respond(self) -> Response:
        return Response(201, length=0)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return the server's end of a connection, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    with client, server:
        yield server, client


def wait_for_bytes(server: socket.socket, size: int) -> None:
    """Wait until so many bytes can be read."""
    server.setblocking(True)
    assert len(server.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)) == size
    server.setblocking(False)


# The reader.


@pytest.mark.parametrize(
    ("size", "is_complete"), [(5, True), (6, False)], ids=["to its end", "what there is"]
)
def test_a_body_is_read_up_to_its_end(
    pair: tuple[socket.socket, socket.socket], size: int, is_complete: bool
) -> None:
    server, client = pair
    sent = b"hello" + b"GET / HTTP/1.1"
    client.sendall(sent[: None if is_complete else 5])
    wait_for_bytes(server, 5)
    sink, reader = Sink(), SocketReader(server.fileno(), size)
    sink.gate.set()
    assert reader.read_into(sink) is is_complete
    reader.close()
    assert sink.sizes == [5]
    assert (reader.bytes_read, reader.may_have_more, reader.is_lost) == (5, False, False)
    if is_complete:
        assert server.recv(100, socket.MSG_WAITALL | socket.MSG_PEEK).startswith(b"GET")


def test_others_have_the_thread_after_some_bytes_of_a_body(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_reader, "_MAX_BYTES_PER_CALL", 5)
    monkeypatch.setattr(socket_reader, "_READ_SIZE", 2)
    server, client = pair
    client.sendall(bytes(8))
    wait_for_bytes(server, 8)
    sink, reader = Sink(), SocketReader(server.fileno(), 8)
    sink.gate.set()
    assert not reader.read_into(sink)
    reader.close()
    assert sink.sizes == [2, 2, 1]
    assert reader.may_have_more


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_goes_away_is_left_to_the_loop(
    pair: tuple[socket.socket, socket.socket], is_reset: bool
) -> None:
    server, client = pair
    if is_reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    reader = SocketReader(server.fileno(), 8)
    assert not reader.read_into(Sink())
    reader.close()
    assert (reader.bytes_read, reader.may_have_more, reader.is_lost) == (0, False, is_reset)


def test_the_end_of_the_transport_does_not_end_a_reader(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    client.sendall(b"hello")
    wait_for_bytes(server, 5)
    sink, reader = Sink(), SocketReader(server.fileno(), 5)
    sink.gate.set()
    server.close()
    assert reader.read_into(sink)
    reader.close()
    assert client.recv(1) == b""  # and now the socket is closed


# The connection.


class Uploader(FakeClient):
    """A client whose body goes to a sink, and its connection with what its transport was told.

    What is sent through the transport is given to the connection by send; the rest is in a socket.
    """

    def __init__(self, server_end: socket.socket, sink: Sink) -> None:
        self.sink = sink
        self.calls, self.written = list[str](), list[bytes]()
        self.changed = asyncio.Event()
        super().__init__(lambda request: Response(request.error.status if request.error else 204))
        transport: Any = self.transport
        self.info: dict[str, object] = {"socket": server_end}
        transport.get_extra_info = self.info.get
        transport.is_reading = lambda: True
        transport.write = self.written.append
        transport.pause_reading = lambda: self.note("pause")
        transport.resume_reading = lambda: self.note("resume")

    def accept_body(self, _request: Request, _context: RequestContext) -> Sink:
        return self.sink

    def note(self, call: str) -> None:
        self.calls.append(call)
        self.changed.set()

    def begin(self, size: int) -> None:
        """Send a head and FIRST; return when the sink is about to store that."""
        self.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + FIRST)
        assert self.sink.writing.wait(TIMEOUT)

    async def wait_for(self, call: str) -> None:
        """Wait for a call of the transport."""
        while call not in self.calls:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), TIMEOUT)

    async def close(self) -> None:
        self.sink.gate.set()
        await super().close()


async def test_the_thread_reads_the_rest_and_answers(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    uploader = Uploader(server, Sink())
    uploader.begin(len(FIRST) + 5)
    assert uploader.calls == ["pause"]
    client.sendall(b"hello")
    wait_for_bytes(server, 5)
    uploader.sink.gate.set()
    await uploader.wait_for("resume")
    assert uploader.sink.sizes == [len(FIRST), 5]
    assert uploader.written[0].startswith(b"HTTP/1.1 201 Created\r\n")
    uploader.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert uploader.written[1].startswith(b"HTTP/1.1 204 No Content\r\n")
    await uploader.close()
    assert uploader.sink.is_closed


def encrypt(uploader: Uploader) -> None:
    uploader.info["sslcontext"] = object()


def take_descriptors(uploader: Uploader) -> None:
    limiter: Any = uploader.server.limiter
    limiter.reserve_descriptors = lambda *_: False


def stop_reading(uploader: Uploader) -> None:
    transport: Any = uploader.transport
    transport.is_reading = lambda: False  # as uvloop's are before connection_made has returned


@pytest.mark.parametrize("prepare", [encrypt, take_descriptors, stop_reading])
async def test_the_rest_comes_through_the_transport_if_it_must(
    pair: tuple[socket.socket, socket.socket], prepare: Callable[[Uploader], None]
) -> None:
    server, client = pair
    uploader = Uploader(server, Sink())
    prepare(uploader)
    uploader.begin(len(FIRST) + 5)
    client.sendall(b"other")
    uploader.send(b"hello")
    uploader.sink.gate.set()
    while not uploader.written:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0)
    assert uploader.calls == []
    assert uploader.sink.sizes == [len(FIRST), 5]
    assert uploader.written[0].startswith(b"HTTP/1.1 201 Created\r\n")
    await uploader.close()


async def test_the_loop_waits_for_a_slow_client(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    uploader = Uploader(server, Sink())
    uploader.begin(LONG)
    client.sendall(b"hello")
    wait_for_bytes(server, 5)
    uploader.sink.gate.set()
    await uploader.wait_for("resume")
    assert uploader.sink.sizes == [len(FIRST), 5]
    assert uploader.calls == ["pause", "resume"]
    uploader.send(bytes(LONG - len(FIRST) - 5))
    await uploader.close()
    assert uploader.sink.is_closed


async def test_a_fast_client_is_read_from_until_nothing_comes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[int]()
    read_into = SocketReader.read_into

    def read_and_note(reader: SocketReader, sink: Any) -> bool:
        is_complete = read_into(reader, sink)
        found.append(reader.bytes_read)
        return is_complete

    monkeypatch.setattr(SocketReader, "read_into", read_and_note)
    server, client = pair
    uploader = Uploader(server, Sink())
    uploader.begin(LONG)
    client.sendall(FAST)
    wait_for_bytes(server, len(FAST))
    uploader.sink.gate.set()
    await uploader.wait_for("resume")
    assert found == [len(FAST), 0]
    assert uploader.calls == ["pause", "resume"]
    await uploader.close()


class StoppedClock:
    """A loop whose timers wait until a test runs them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timers = asyncio.Queue[Callable[[], None]]()
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, _: float, callback: Callable[..., None], *args: Any) -> asyncio.Handle:
        self.timers.put_nowait(lambda: callback(*args))
        return asyncio.Handle(callback, args, self._loop)


@pytest.mark.parametrize("is_rejected", [False, True])
async def test_a_body_is_read_on_after_a_pause_unless_it_was_rejected_meanwhile(
    pair: tuple[socket.socket, socket.socket], is_rejected: bool
) -> None:
    server, client = pair
    uploader = Uploader(server, Sink())
    clock: Any = StoppedClock(uploader.server.loop)
    uploader.server.loop = clock
    uploader.begin(LONG)
    client.sendall(FAST)
    wait_for_bytes(server, len(FAST))
    uploader.sink.gate.set()
    go_on = await asyncio.wait_for(clock.timers.get(), TIMEOUT)
    assert uploader.calls == ["pause"]
    client.sendall(b"hello")
    wait_for_bytes(server, 5)
    if is_rejected:
        uploader.connection._reject(408, "The request took too long to arrive.")
    go_on()
    await uploader.wait_for("resume")
    assert uploader.sink.sizes == [len(FIRST), len(FAST), *([] if is_rejected else [5])]
    assert [data.split()[1] for data in uploader.written] == ([b"408"] if is_rejected else [])
    await uploader.close()
    assert uploader.sink.is_closed


async def test_an_error_in_the_thread_is_the_response(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    uploader = Uploader(server, Sink(raises_at=2))
    uploader.begin(LONG)
    client.sendall(b"hello")
    wait_for_bytes(server, 5)
    uploader.sink.gate.set()
    await uploader.wait_for("resume")  # what follows is read, and discarded
    assert uploader.connection._http.state is State.LINGERING
    await uploader.close()
    assert uploader.sink.is_closed


async def test_a_connection_that_is_reset_in_the_thread_is_closed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    uploader = Uploader(server, Sink())
    uploader.begin(LONG)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    closed = asyncio.Event()
    transport: Any = uploader.transport
    abort = transport.abort
    transport.abort = lambda: (abort(), closed.set())
    uploader.sink.gate.set()
    await asyncio.wait_for(closed.wait(), TIMEOUT)
    assert not uploader.written
    await uploader.close()
    assert uploader.sink.is_closed
