"""Bodies that wait in memory for clients that do not read: counted, bounded and released."""

import queue
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import aserve
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodyStream, FileSlice, Request, Response
from aserve.http1.limits import Limits
from aserve.policies.response_memory import MAX_INLINE_SIZE, ResponseMemory
from aserve.policies.site import Site
from aserve.transport.registry import DEFAULT
from tests.aserve.seams.serving import (
    ITERATIVE,
    NAMES,
    SEVERAL_AT_A_TIME,
    TIMEOUT,
    FunctionHandler,
    read_all,
    request,
    serving,
)
from tests.conformance.serving import address_of
from tests.marks import slow_except

SIZE = 12 << 20
"""Bytes of a body: more than the kernel takes for a client that does not read."""


def body(target: str) -> bytes:
    return target[-1].encode() * SIZE


def handle(asked: Request) -> Response:
    return Response(200, body=(body(asked.target),), length=SIZE)


def silent_client(address: tuple[str, int], asked: bytes) -> socket.socket:
    """Return a client that has got the first byte of its response, and reads no more."""
    client = socket.socket()
    client.settimeout(TIMEOUT)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(address)
    client.sendall(asked)
    assert client.recv(1) == b"H"
    return client


def fetch(address: tuple[str, int], target: str) -> bytes:
    with socket.create_connection(address, TIMEOUT) as client:
        client.sendall(request(target))
        return read_all(client)


def released(memory: ResponseMemory, content: bytes) -> threading.Event:
    """Return what is set once a body is held no more."""
    event = threading.Event()
    weakref.finalize(memory._held[content], event.set)
    return event


@pytest.fixture
def memory() -> ResponseMemory:
    return ResponseMemory(2 * SIZE)


@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME)
def test_clients_that_do_not_read_hold_a_bounded_amount(model: str, memory: ResponseMemory) -> None:
    with serving(model, handle, memory) as served, ExitStack() as stack:
        first, same, other = (
            stack.enter_context(silent_client(served.address, request(target)))
            for target in ("/1", "/1", "/2")
        )
        assert memory.size == 2 * SIZE  # two clients wait for one copy
        head, _, refused = fetch(served.address, "/3").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1" in head
        assert b"Many large pages are being sent." in refused
        assert served.logged.acquire(timeout=TIMEOUT)
        assert served.log[0][1].target == "/3"
        assert served.log[0][2:4] == (503, len(refused))

        is_released = released(memory, body("/1"))
        first.close()
        assert served.logged.acquire(timeout=TIMEOUT)  # it has gone, the other one has not
        assert memory.size == 2 * SIZE
        same.close()
        assert is_released.wait(TIMEOUT)
        assert memory.size == SIZE
        assert fetch(served.address, "/3").endswith(b"\r\n\r\n" + body("/3"))

        is_released = released(memory, body("/2"))
        other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # which is faster
        assert read_all(other).endswith(b"\r\n\r\n" + body("/2"))
        assert is_released.wait(TIMEOUT)
        assert memory.size == 0


def test_one_client_after_the_other(memory: ResponseMemory) -> None:
    """In a model that serves one at a time: what one has held does not count for the next."""
    with serving(ITERATIVE, handle, memory) as served:
        for target in ("/1", "/2", "/3", "/4"):
            with silent_client(served.address, request(target)):
                assert memory.size == SIZE


def test_the_response_to_a_body_is_counted(memory: ResponseMemory) -> None:
    site = Site(FunctionHandler(handle), memory=memory)
    made, context = Response(201, body=(body("/1"),)), RequestContext(0)
    first = site.finish(Request("POST", "/1"), context, made)
    assert (first.status, memory.size) == (201, SIZE)
    assert site.handle(Request("GET", "/2"), context).status == 200  # which is given up at once
    second = site.handle(Request("GET", "/2"), context)
    refused = site.finish(Request("POST", "/3"), context, made.with_body((body("/3"),)))
    assert (second.status, refused.status, memory.size) == (200, 503, 2 * SIZE)


@pytest.mark.parametrize("model", slow_except(NAMES, DEFAULT))
def test_a_response_to_head_holds_nothing(model: str, memory: ResponseMemory) -> None:
    with serving(model, handle, memory) as served:
        with socket.create_connection(served.address, TIMEOUT) as client:
            client.sendall(request("/1", method="HEAD"))
            assert f"\r\nContent-Length: {SIZE}\r\n".encode() in read_all(client)
        assert memory.size == 0


class Source:
    """A file that is never read."""

    is_local = True


def test_what_is_small_or_on_disk_or_made_meanwhile_is_not_counted(memory: ResponseMemory) -> None:
    file = FileSlice(Source(), 0, SIZE)  # type: ignore[arg-type]
    bodies = [(), (bytes(MAX_INLINE_SIZE),), (file,), (b"head", file), (BodyStream([]),)]
    for parts in bodies:
        response = Response(200, body=parts)
        assert memory.hold(response) is response
    assert memory.size == 0


def test_one_body_alone_may_be_of_any_size() -> None:
    memory = ResponseMemory(1)
    for _ in range(2):
        held = memory.hold(Response(200, body=(bytes(SIZE),)))
        assert memory.size == SIZE
        del held
        assert memory.size == 0


Log = queue.SimpleQueue[str]


@pytest.fixture(params=[False, True], ids=["page", "page that reloads"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[aserve.Server, Log]]:
    """Serve a folder whose page takes megabytes, because of its texts."""
    for name in ("HEADER.md", "README"):
        (tmp_path / name).write_bytes(b"<" * (1 << 20))
    (tmp_path / "sub").mkdir()
    log: Log = queue.SimpleQueue()
    limits = Limits(max_response_memory=1)
    with aserve.Server(tmp_path, live=request.param, limits=limits, access_log=log.put) as server:
        yield server, log


def test_folder_pages_that_are_not_read_leave_others_small_ones(
    server: tuple[aserve.Server, Log],
) -> None:
    running, log = server
    address = address_of(running)
    with silent_client(address, request("/")):
        refused = fetch(address, "/?sort=size")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert '"GET /?sort=size HTTP/1.1" 503 ' in log.get(timeout=TIMEOUT)
        small = fetch(address, "/sub/")
        assert small.startswith(b"HTTP/1.1 200 ")
        same = fetch(address, "/")  # which is in memory
        assert same.startswith(b"HTTP/1.1 200 ")
        scripts = [page.count(b"/.aserve/live.js") for page in (small, same)]
        assert scripts in ([0, 0], [1, 1])
        assert len(same) > 8 << 20
