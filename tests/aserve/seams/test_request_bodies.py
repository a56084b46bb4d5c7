"""A handler that stores request bodies, under every model, as fast as its disk is."""

import itertools
import socket
import threading
import time
import tracemalloc
from contextlib import ExitStack
from io import BufferedWriter, BytesIO
from pathlib import Path

import pytest

from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve.seams.serving import (
    CASE_PARAMS,
    TIMEOUT,
    Case,
    FunctionHandler,
    connect,
    read_all,
    request,
    serving,
)

PIECE = bytes(range(256)) * 256  # 64 KiB
PIECES = 512  # 32 MiB
MAX_MEMORY = 8 << 20  # bytes, for the server and its client
MAX_SIZE = 1 << 40


class Store:
    """Stores a body in a file. Every call is counted; the first one may have to wait."""

    def __init__(self, path: Path, *, may_wait: bool, max_size: int = MAX_SIZE) -> None:
        self.path = path
        self.may_wait = may_wait
        self.max_size = max_size
        self.size = self.writes = self.most_written = 0
        self.gate: threading.Event | None = None
        self.writing, self.closed = threading.Event(), threading.Event()
        self.begins = 0
        self.refuses = self.refuses_all = self.fails = False
        self.refuses_at_once = False
        self.threads: set[str] = set()
        self.contexts: list[RequestContext] = []
        self._file: BufferedWriter | BytesIO = BytesIO()  # until the first write

    def begin(self) -> None:
        self.begins += 1
        assert not self.writing.is_set()
        if self.refuses_at_once:
            raise HttpError(409, "It is there already.")

    def write(self, data: bytes) -> None:
        assert self.begins == 1
        self.threads.add(threading.current_thread().name)
        if not self.writing.is_set():
            self._file = self.path.open("wb")
        self.writing.set()
        if self.gate:
            assert self.gate.wait(TIMEOUT)
        if self.refuses:
            raise HttpError(507, "The disk is full.", close=True)
        if self.fails:
            raise ZeroDivisionError
        self.writes += 1
        self.size += len(data)
        self.most_written = max(self.most_written, len(data))
        self._file.write(data)

    def respond(self) -> Response:
        assert self.begins == 1
        assert not self.closed.is_set()
        if self.refuses_all:
            raise HttpError(409, "It is there already.")
        self._file.flush()
        return Response(201, body=(b"stored",), length=6)

    def close(self) -> None:
        assert not self.closed.is_set()  # once
        self._file.close()
        self.closed.set()


class StoringHandler(FunctionHandler):
    """Stores what is PUT, and answers all else."""

    def __init__(self, store: Store) -> None:
        super().__init__(lambda request: Response(200, body=(request.method.encode(),), length=3))
        self.store = store

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        self.store.contexts.append(context)
        if request.target == "/no":
            raise HttpError(403, "Not here.", close=True)
        return self.store if request.method == "PUT" else None


@pytest.fixture(params=CASE_PARAMS, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.param
    return case


@pytest.fixture
def model(case: Case) -> str:
    return case.model


@pytest.fixture
def store(case: Case, tmp_path: Path) -> Store:
    return Store(tmp_path / "stored", may_wait=case.may_wait)


def put(target: str = "/", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"PUT {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()


LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "message",
    [
        put(content_length="11") + b"hello world",
        put(transfer_encoding="chunked") + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nX: y\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_a_body_is_stored_and_the_next_request_follows(
    model: str, store: Store, message: bytes
) -> None:
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(message + LAST)
        responses = read_all(client)
        assert responses.startswith(b"HTTP/1.1 201 Created\r\n")
        assert b"\r\n\r\nstoredHTTP/1.1 200 OK\r\n" in responses
        assert responses.endswith(b"\r\n\r\nGET")
        assert responses.count(b"\r\nServer: aserve\r\n") == 2  # a sink's response is finished too
        assert store.closed.wait(TIMEOUT)
        assert served.logged.acquire(timeout=TIMEOUT)
        _, logged, status, body_size, *_ = served.log[0]
        assert (logged.method, status, body_size) == ("PUT", 201, 6)
        assert logged.received == len(b"hello world")
    assert store.path.read_bytes() == b"hello world"


@pytest.mark.parametrize(
    "message",
    [put(content_length="0"), put(transfer_encoding="chunked") + b"0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_an_empty_body_is_stored(model: str, store: Store, message: bytes) -> None:
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(message + LAST)
        assert b"\r\n\r\nstoredHTTP/1.1 200 OK\r\n" in read_all(client)
        assert store.closed.wait(TIMEOUT)
    assert not store.writes


@pytest.mark.parametrize("when", ["refuses_all", "refuses_at_once"])
def test_the_next_request_follows_a_whole_body_that_is_refused(
    model: str, store: Store, when: str
) -> None:
    setattr(store, when, True)
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5") + b"hello" + LAST)
        responses = read_all(client)
        assert store.closed.wait(TIMEOUT)
    assert responses.startswith(b"HTTP/1.1 409 Conflict\r\n")
    assert b"HTTP/1.1 200 OK\r\n" in responses


def test_a_body_in_single_bytes_is_stored(model: str, store: Store) -> None:
    message = put(transfer_encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n" + LAST
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in message:
            client.sendall(bytes([byte]))
        assert b"\r\n\r\nstoredHTTP/1.1 200 OK\r\n" in read_all(client)
    assert store.path.read_bytes() == b"hello"


def test_a_large_body_takes_little_memory_however_slow_the_disk(model: str, store: Store) -> None:
    size = PIECES * len(PIECE)
    store.gate = threading.Event()
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        tracemalloc.start()
        try:
            client.sendall(put(content_length=str(size), connection="close"))
            sent = send_until_full(client)  # while the sink is in its first write
            assert store.writing.wait(TIMEOUT)
            assert sent < size  # the server reads no more
            store.gate.set()
            client.settimeout(TIMEOUT)
            for start in range(sent, size, len(PIECE)):
                client.sendall(body_part(start, min(size, start + len(PIECE))))
            assert read_all(client).startswith(b"HTTP/1.1 201 Created\r\n")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert store.size == size
    assert store.most_written <= 1 << 20
    assert peak < MAX_MEMORY
    with store.path.open("rb") as file:
        file.seek(size - 1_000)
        assert file.read() == body_part(size - 1_000, size)


def body_part(start: int, stop: int) -> bytes:
    """Return the bytes [start, stop) of a body of pieces."""
    begin = start % len(PIECE)
    return (PIECE + PIECE)[begin : begin + stop - start]


def send_until_full(client: socket.socket) -> int:
    """Send a body until the server reads no more; return how many bytes the kernel has taken."""
    client.settimeout(0.2)
    sent = 0
    while True:
        try:
            sent += client.send(body_part(sent, sent + len(PIECE)))
        except TimeoutError:
            return sent


@pytest.mark.parametrize("model", [DEFAULT, "epoll"])
def test_a_connection_ends_behind_a_body_of_as_many_chunks_as_one_turn_reads(model: str) -> None:
    head = request().replace(b"Connection: close", b"Transfer-Encoding: chunked")
    with serving(model, lambda _: Response(204)) as served, connect(served) as client:
        client.sendall(head + b"1\r\na\r\n" * 170 + b"0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 204 No Content\r\n")


def test_100_continue_is_sent_to_a_client_that_waits_for_it(model: str, store: Store) -> None:
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5", expect="100-continue"))
        assert client.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello" + LAST)
        assert read_all(client).startswith(b"HTTP/1.1 201 Created\r\n")
    assert store.path.read_bytes() == b"hello"


@pytest.mark.parametrize("expect", [{"expect": "100-continue"}, {}], ids=["expects", "sends"])
def test_a_refused_body_is_not_read(model: str, store: Store, expect: dict[str, str]) -> None:
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put("/no", content_length="5", **expect))
        assert read_all(client).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert not store.writing.is_set()


@pytest.mark.parametrize("expect", [{"expect": "100-continue"}, {}], ids=["expects", "sends"])
def test_a_body_over_the_limit_is_not_read(
    model: str, store: Store, expect: dict[str, str]
) -> None:
    store.max_size = 4
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5", **expect))
        assert read_all(client).startswith(b"HTTP/1.1 413 Content Too Large\r\n")
        assert store.closed.wait(TIMEOUT)
    assert not store.writes


def test_a_chunked_body_over_the_limit_is_rejected_when_it_is(model: str, store: Store) -> None:
    store.max_size = 4
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(transfer_encoding="chunked") + b"3\r\nabc\r\n")
        assert store.writing.wait(TIMEOUT)
        client.sendall(b"2\r\nde\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 413 Content Too Large\r\n")
        assert store.closed.wait(TIMEOUT)
    assert store.path.read_bytes() == b"abc"


def test_a_sink_may_reject_what_arrives(model: str, store: Store) -> None:
    store.refuses = True
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="500") + b"hello")
        assert read_all(client).startswith(b"HTTP/1.1 507 Insufficient Storage\r\n")
        assert store.closed.wait(TIMEOUT)


@pytest.mark.parametrize("expect", [{"expect": "100-continue"}, {}], ids=["expects", "sends"])
def test_a_sink_may_reject_a_body_before_any_of_it_is_read(
    model: str, store: Store, expect: dict[str, str]
) -> None:
    store.refuses_at_once = True
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5", **expect))  # and nothing of the body
        assert read_all(client).startswith(b"HTTP/1.1 409 Conflict\r\n")
        assert store.closed.wait(TIMEOUT)
    assert not store.writes


def test_a_handler_accepts_bodies_by_the_context_that_it_answers_with(
    model: str, store: Store
) -> None:
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5") + b"hello" + LAST)
        read_all(client)
    (context,) = store.contexts
    assert context.may_wait is not MODELS[model].uses_event_loop
    assert context.now


def test_the_log_has_the_time_from_the_beginning_of_a_body(
    model: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(1_000_000_000)  # each look at the clock is a second later
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="5", expect="100-continue", connection="close"))
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        begun = time.time()
        client.sendall(b"hello")
        assert read_all(client).startswith(b"HTTP/1.1 201 ")
        assert served.logged.acquire(timeout=TIMEOUT)
    *_, started_at = served.log[0]
    assert 1_000_000_000 <= started_at < begun


def test_an_internal_error_of_a_sink_is_a_500(
    model: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.fails = True
    with serving(model, StoringHandler(store)) as served, connect(served) as client:
        client.sendall(put(content_length="500") + b"hello")
        assert read_all(client).startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert store.closed.wait(TIMEOUT)
    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text


def test_a_sink_is_closed_when_the_client_goes_away(model: str, store: Store) -> None:
    with serving(model, StoringHandler(store)) as served:
        with connect(served) as client:
            client.sendall(put(content_length="500") + b"hello")
            assert store.writing.wait(TIMEOUT)
        assert store.closed.wait(TIMEOUT)


class SlowHandler(StoringHandler):
    """Answers in a thread, and stores each body in a file of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(Store(directory, may_wait=True))
        self.directory, self.stores = directory, list[Store]()
        self.gate, self.accepted = threading.Event(), threading.Semaphore(0)

    def handle(self, request: Request, context: RequestContext) -> Response:
        if not context.may_wait:
            raise BlockingIOError
        return super().handle(request, context)

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        store = Store(self.directory / str(len(self.stores)), may_wait=True)
        store.gate = self.gate
        self.stores.append(store)
        self.accepted.release()
        return store


@pytest.mark.parametrize("model", ["simulated-proactor", "asyncio"])
def test_slow_sinks_delay_no_other_client(model: str, tmp_path: Path) -> None:
    handler = SlowHandler(tmp_path)
    with serving(model, handler) as served, ExitStack() as stack:
        clients = [stack.enter_context(connect(served)) for _ in range(20)]
        for client in clients:  # more than the threads and the queue of the pool
            client.sendall(put(content_length="5", connection="close") + b"hello")
            assert handler.accepted.acquire(timeout=TIMEOUT)
        with connect(served) as other:
            other.sendall(LAST)
            assert read_all(other).startswith(b"HTTP/1.1 200 OK\r\n")
        handler.gate.set()
        for client in clients:
            assert read_all(client).startswith(b"HTTP/1.1 201 Created\r\n")
    assert all(store.path.read_bytes() == b"hello" for store in handler.stores)
    assert all(
        name.startswith("worker-") for name in set().union(*(s.threads for s in handler.stores))
    )


@pytest.mark.parametrize("model", ["simulated-proactor", "asyncio"])
def test_a_client_that_goes_away_leaves_a_busy_sink_in_peace(model: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "stored", may_wait=True)
    store.gate = threading.Event()
    with serving(model, StoringHandler(store)) as served:
        with connect(served) as client:
            client.sendall(put(content_length="500") + b"hello")
            assert store.writing.wait(TIMEOUT)
        with connect(served) as other:  # when this one is answered, the loop has seen the end
            other.sendall(LAST)
            read_all(other)
        assert not store.closed.is_set()
        store.gate.set()
        assert store.closed.wait(TIMEOUT)
    assert store.size == 5
