"""What a handler is told of the end of its response, under every model."""

import socket
import struct
import threading
from pathlib import Path

import pytest

from aserve.http.messages import BodyPart, BodyStream, FileSlice, Request, Response
from aserve.transport.connection_limiter import ConnectionLimiter
from tests.aserve.seams.serving import (
    MODEL_PARAMS,
    SEVERAL_AT_A_TIME,
    TIMEOUT,
    connect,
    read_all,
    read_until_cut,
    request,
    serving,
)
from tests.aserve.seams.test_streams import Pieces

LARGE = 8 << 20  # bytes; more than the kernel buffers
RESET = struct.pack("ii", 1, 0)


class Ends:
    """What on_end was called with, and how often."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []
        self._called = threading.Semaphore(0)

    def __call__(self, body_size: int, is_truncated: bool) -> None:
        self.calls.append((body_size, is_truncated))
        self._called.release()

    def wait(self) -> tuple[int, bool]:
        assert self._called.acquire(timeout=TIMEOUT)
        return self.calls[-1]


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture(params=MODEL_PARAMS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "large"
    file.write_bytes(bytes(LARGE))
    return file


class Opened:
    """A file as the source of a body."""

    is_local = True

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(stop - start)

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        return True

    def is_unchanged(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()

    __del__ = close


def slice_of(file: Path, stop: int = LARGE) -> FileSlice:
    return FileSlice(Opened(file), 0, stop)


BODIES = ["none", "bytes", "file", "stream of known length", "stream in chunks"]


def body_of(kind: str, file: Path) -> tuple[tuple[BodyPart, ...], int | None]:
    match kind:
        case "none":
            return (), 0
        case "bytes":
            return (b"x" * 100,), 100
        case "file":
            return (slice_of(file),), LARGE
        case "stream of known length":
            return (BodyStream(Pieces([b"x" * 1_000] * 100)),), 100_000
    return (BodyStream(Pieces([b"x" * 1_000] * 100)),), None


@pytest.mark.parametrize("kind", BODIES)
def test_a_whole_response(model: str, kind: str, ends: Ends, file: Path) -> None:
    body, length = body_of(kind, file)
    made = Response(200, (), body, length, on_end=ends)
    with serving(model, lambda _: made) as served, connect(served) as client:
        client.sendall(request())
        body_size = len(read_all(client).partition(b"\r\n\r\n")[2])
        size, is_truncated = ends.wait()
        assert not is_truncated
        if length is not None:
            assert size == body_size == length
    assert len(ends.calls) == 1


def test_each_of_several_responses_has_its_own_end(model: str) -> None:
    """Pipelined, and between others of which nobody wants to know the end."""
    ends = [Ends() for _ in range(3)]

    def handle(request: Request) -> Response:
        number = int(request.target[1:])
        return Response(
            200, (), (b"x" * number,), number, on_end=ends[number] if number < 3 else None
        )

    with serving(model, handle) as served, connect(served) as client:
        targets = (3, 0, 1, 3, 2, 3)
        heads = [f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for number in targets]
        client.sendall(b"".join((*heads, request("/3"))))
        read_all(client)
        assert [end.wait() for end in ends] == [(0, False), (1, False), (2, False)]
    assert [len(end.calls) for end in ends] == [1, 1, 1]


def test_head_has_an_end_without_bytes(model: str, ends: Ends, file: Path) -> None:
    def handle(_: Request) -> Response:
        return Response(200, (), (slice_of(file),), LARGE, on_end=ends)

    with serving(model, handle) as served, connect(served) as client:
        client.sendall(request(method="HEAD"))
        read_all(client)
        assert ends.wait() == (0, False)
    assert len(ends.calls) == 1


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_a_client_that_goes_away(model: str, kind: str, ends: Ends, file: Path) -> None:
    body: BodyPart = slice_of(file)
    if kind == "stream":
        body = BodyStream(Pieces([bytes(65_536)] * (LARGE // 65_536)))
    made = Response(200, (), (body,), LARGE, on_end=ends)
    with serving(model, lambda _: made) as served:
        with connect(served) as client:
            client.sendall(request())
            assert client.recv(1_000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        size, is_truncated = ends.wait()
        assert is_truncated
        assert 0 <= size < LARGE
    assert len(ends.calls) == 1


def test_a_file_that_becomes_shorter(model: str, ends: Ends, file: Path) -> None:
    made = Response(200, (), (slice_of(file, LARGE + 100),), LARGE + 100, on_end=ends)
    with serving(model, lambda _: made) as served, connect(served) as client:
        client.sendall(request())
        read_until_cut(client)
        size, is_truncated = ends.wait()
        assert is_truncated
        assert 0 < size <= LARGE  # a proactor may have read more than it has sent
    assert len(ends.calls) == 1


def test_a_file_without_a_descriptor_ends_unsent(
    model: str, ends: Ends, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ConnectionLimiter, "reserve_descriptors", lambda *_: False)
    made = Response(200, (), (slice_of(file),), LARGE, on_end=ends)
    with serving(model, lambda _: made) as served, connect(served) as client:
        client.sendall(request())
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
        assert ends.wait() == (0, True)
    assert len(ends.calls) == 1


def test_a_response_that_contradicts_itself_ends_unsent(model: str, ends: Ends) -> None:
    made = Response(200, (), (b"short",), 100, on_end=ends)
    with serving(model, lambda _: made) as served, connect(served) as client:
        client.sendall(request())
        assert read_all(client).startswith(b"HTTP/1.1 500 ")
        assert ends.wait() == (0, True)
    assert len(ends.calls) == 1


@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME)
def test_a_server_that_stops_tells_the_end_first(model: str, ends: Ends, file: Path) -> None:
    """The last one comes after all is sent, before the server has stopped."""
    made = Response(200, (), (slice_of(file),), LARGE, on_end=ends)
    with serving(model, lambda _: made) as served:
        client = connect(served)
        client.sendall(request())
        assert client.recv(1_000)
        reader = threading.Thread(target=read_all, args=(client,))
        reader.start()
    reader.join(TIMEOUT)
    client.close()
    assert ends.calls == [(LARGE, False)]


def test_an_error_in_it_costs_no_connection(model: str, caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def fail(body_size: int, is_truncated: bool) -> None:
        called.set()
        raise RuntimeError("in on_end")

    made = Response(200, (), (b"x",), 1, on_end=fail)
    with serving(model, lambda _: made) as served, connect(served) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request())
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 2
        assert called.wait(TIMEOUT)
    assert "in on_end" in caplog.text


def test_a_response_is_not_changed_by_its_end() -> None:
    ends = Ends()
    response = Response(200, (("A", "b"),), (b"x",), 1, on_end=ends)
    assert response.with_headers(()).on_end is ends
    assert response.without_body().on_end is ends
