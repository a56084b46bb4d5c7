"""Response bodies that are made while they are sent, under every model."""

import threading
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from aserve.http.messages import BodyStream, Request, Response
from aserve.transport.registry import MODELS
from tests.aserve.seams.serving import (
    CASE_PARAMS,
    MODEL_PARAMS,
    NAMES,
    SEVERAL_AT_A_TIME,
    TIMEOUT,
    Case,
    connect,
    read_all,
    read_until_cut,
    request,
    serving,
)
from tests.marks import slow

PIECE = bytes(65_536)
PIECES = 1_024  # 64 MiB
MAX_MEMORY = 8 << 20  # bytes, for the server and its client


class Pieces:
    """Yields pieces and tells when it was closed."""

    def __init__(self, pieces: list[bytes | Exception]) -> None:
        self.pieces = pieces
        self.taken = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.taken == len(self.pieces):
            raise StopIteration
        piece = self.pieces[self.taken]
        self.taken += 1
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed.set()


@pytest.fixture(params=MODEL_PARAMS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def streaming(
    pieces: Pieces, *, length: int | None = None, may_wait: bool = True
) -> Callable[[Request], Response]:
    return lambda _: Response(200, body=(BodyStream(pieces, may_wait=may_wait),), length=length)


def read_chunks(data: bytes) -> list[bytes]:
    """Return the chunks of a body, by RFC 9112 section 7.1: all of them, and nothing behind."""
    chunks = []
    while True:
        digits, _, data = data.partition(b"\r\n")
        size = int(digits, 16)
        chunk, end, data = data[:size], data[size : size + 2], data[size + 2 :]
        assert end == b"\r\n"
        if not chunk:
            assert data == b""
            return chunks
        chunks.append(chunk)


@pytest.mark.parametrize("case", CASE_PARAMS, ids=str)
def test_each_piece_is_a_chunk(case: Case) -> None:
    pieces = Pieces([b"one", b"", b"two" * 50_000, b"three"])
    stream = streaming(pieces, may_wait=case.may_wait)
    with serving(case.model, stream) as served, connect(served) as client:
        client.sendall(request())
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert b"\r\nTransfer-Encoding: chunked\r\n" in head
        assert b"\r\nContent-Length:" not in head
        assert read_chunks(body) == [b"one", b"two" * 50_000, b"three"]
        assert pieces.closed.wait(TIMEOUT)
        assert served.logged.acquire(timeout=TIMEOUT)
        assert served.log[0][2:4] == (200, len(body))


def test_the_next_request_follows_the_last_chunk(model: str) -> None:
    def handle(_: Request) -> Response:
        return Response(200, body=(BodyStream([b"piece"]),))

    with serving(model, handle) as served, connect(served) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + request())
        responses = read_all(client)
    assert responses.count(b"\r\n\r\n5\r\npiece\r\n0\r\n\r\n") == 3


def test_http_1_0_gets_the_bytes_up_to_the_end_of_the_connection(model: str) -> None:
    with serving(model, streaming(Pieces([b"one", b"two"]))) as served, connect(served) as client:
        client.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    assert b"Transfer-Encoding" not in head
    assert body == b"onetwo"


def test_head_gets_no_body_and_the_stream_is_closed_unread(model: str) -> None:
    pieces = Pieces([b"one"])
    with serving(model, streaming(pieces)) as served, connect(served) as client:
        client.sendall(request(method="HEAD"))
        assert read_all(client).endswith(b"\r\n\r\n")
        assert pieces.closed.wait(TIMEOUT)
    assert pieces.taken == 0


def test_a_handler_need_not_state_what_follows_from_its_response(model: str) -> None:
    """Nor is a body sent where there must be none: the next response would begin with it."""
    answers = {
        "/length": Response(201),
        "/bytes": Response(200, body=(b"bytes",)),
        "/no": Response(204, body=(BodyStream([b"one"]),)),
        "/wrong": Response(200, body=(b"bytes",), length=4),
    }
    with serving(model, lambda asked: answers[asked.target]) as served, connect(served) as client:
        kept = (("GET", "/length"), ("GET", "/bytes"), ("HEAD", "/bytes"), ("GET", "/no"))
        for method, target in kept:
            client.sendall(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        client.sendall(request("/wrong"))
        first, *bodies = read_all(client).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"201 ")
    assert first.endswith(b"\r\nContent-Length: 0\r\n\r\n")
    with_bytes, of_head, without_body, failed = bodies
    assert with_bytes.endswith(b"\r\nContent-Length: 5\r\n\r\nbytes")
    assert of_head.endswith(b"\r\nContent-Length: 5\r\n\r\n")
    assert without_body.endswith(b"\r\nServer: aserve\r\n\r\n")
    assert failed.startswith(b"500 ")


def test_a_stream_of_a_known_length_is_sent_as_it_is(model: str) -> None:
    stream = streaming(Pieces([b"one", b"two"]), length=6)
    with serving(model, stream) as served, connect(served) as client:
        client.sendall(request())
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 6\r\n" in head
    assert body == b"onetwo"


@pytest.mark.parametrize(
    ("last", "length"),
    [
        *((ZeroDivisionError(), None), (OSError("no disk"), None), (BlockingIOError(), None)),
        *((b"", 4), (b"more", 4)),
    ],
    ids=["an error", "a disk error", "EAGAIN", "too short", "too long"],
)
def test_a_stream_that_fails_cuts_the_response(
    model: str, last: bytes | Exception, length: int | None
) -> None:
    pieces = Pieces([b"one", last])
    stream = streaming(pieces, length=length)
    with serving(model, stream) as served, connect(served) as client:
        client.sendall(request())
        received = read_until_cut(client)
        assert b"\r\n0\r\n\r\n" not in received
        assert b"more" not in received
        assert pieces.closed.wait(TIMEOUT)
        assert served.logged.acquire(timeout=TIMEOUT)
        assert (served.log[0][2], served.log[0][5]) == (200, True)  # marked as truncated


def test_an_http_1_0_client_notices_that_a_stream_has_failed(model: str) -> None:
    stream = streaming(Pieces([b"one", ZeroDivisionError()]))
    with serving(model, stream) as served, connect(served) as client:
        client.sendall(request(version="1.0"))
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_stream_is_closed_when_the_client_goes_away(model: str) -> None:
    pieces = Pieces([PIECE] * PIECES)
    with serving(model, streaming(pieces)) as served:
        with connect(served) as client:
            client.sendall(request())
            client.recv(1)
        assert pieces.closed.wait(TIMEOUT)
        assert pieces.taken < PIECES
        assert served.logged.acquire(timeout=TIMEOUT)
        assert served.log[0][5]


@pytest.mark.parametrize("name", [name for name in NAMES if MODELS[name].uses_event_loop])
def test_a_stream_that_works_without_a_piece_is_given_up_with_its_client(name: str) -> None:
    """A thread is at work then, and the generator cannot be closed before it returns."""
    closed, is_working = threading.Event(), threading.Event()

    def work() -> Iterator[bytes]:
        try:
            yield b"one"
            while True:
                is_working.set()
                yield b""
        finally:
            closed.set()

    def handle(_: Request) -> Response:
        return Response(200, body=(BodyStream(work()),), length=4)

    with serving(name, handle) as served:
        with connect(served) as client:
            client.sendall(request())
            client.recv(1)
            assert is_working.wait(TIMEOUT)
        assert closed.wait(TIMEOUT)  # a reset, since the client has left bytes unread


@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME, indirect=True)
def test_a_stream_that_works_without_a_piece_delays_no_other_client(model: str) -> None:
    """A compressed archive of zeros is one: 16 MB of them are 16 KB."""
    other_is_served = threading.Event()

    def work() -> Iterator[bytes]:
        while not other_is_served.is_set():
            yield b""
        yield b"piece"

    def handle(request: Request) -> Response:
        return Response(200, body=(BodyStream(work()),) if request.target == "/" else (b"other",))

    with serving(model, handle) as served, connect(served) as client:
        client.sendall(request())
        with connect(served) as other:
            other.sendall(request("/other"))
            assert read_all(other).endswith(b"other")
        other_is_served.set()
        assert b"5\r\npiece\r\n0\r\n\r\n" in read_all(client)


@pytest.mark.parametrize("mebibytes", [64, slow(1_024)])
@pytest.mark.parametrize("case", CASE_PARAMS, ids=str)
def test_a_large_stream_takes_little_memory(case: Case, mebibytes: int) -> None:
    pieces = Pieces([PIECE] * (16 * mebibytes))
    buffer, received = bytearray(1 << 18), 0
    stream = streaming(pieces, may_wait=case.may_wait)
    with serving(case.model, stream) as served, connect(served) as client:
        tracemalloc.start()
        try:
            client.sendall(request())
            while count := client.recv_into(buffer):
                received += count
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert received > mebibytes << 20
    assert pieces.taken == 16 * mebibytes
    assert peak < MAX_MEMORY


@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME, indirect=True)
def test_a_stream_waits_for_its_client(model: str) -> None:
    pieces = Pieces([PIECE] * PIECES)
    with serving(model, streaming(pieces)) as served, connect(served) as client:
        client.sendall(request())
        client.recv(1)
        with connect(served) as other:  # whose response comes while the first client reads nothing
            other.sendall(request(method="HEAD"))
            read_all(other)
        assert pieces.taken < PIECES
