"""A handler that takes over its connection: server-sent events to a thousand clients."""

import asyncio
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from aserve.http.messages import HttpError, Request, Response
from aserve.transport.registry import DEFAULT, MODELS
from aserve.transport.server_connection import RESET
from tests.aserve.seams.serving import (
    NAMES,
    TIMEOUT,
    connect,
    read_all,
    read_until_cut,
    request,
    serving,
)
from tests.marks import slow_except

CLIENTS = 1_000
ON_A_LOOP = [name for name in NAMES if MODELS[name].uses_event_loop]
LOOP_PARAMS = slow_except(ON_A_LOOP, DEFAULT)
OTHER_PARAMS = slow_except([name for name in NAMES if name not in ON_A_LOOP], "epoll")
EVENT = b"data: hello\n\n"


class Hub:
    """Sends events to all clients that have subscribed."""

    def __init__(self) -> None:
        self.subscribers: set[Subscription] = set()
        self.subscribed, self.unsubscribed = threading.Semaphore(0), threading.Semaphore(0)
        self.aborted = threading.Semaphore(0)
        self.loop: asyncio.AbstractEventLoop

    def subscribe(self, request: Request) -> Response:
        self.loop = asyncio.get_running_loop()
        headers = (("Content-Type", "text/event-stream"), ("Connection", "close"))
        return Response(200, headers, takeover=Subscription(self, refuses=request.target == "/no"))

    def publish(self, event: bytes) -> None:
        self.loop.call_soon_threadsafe(
            lambda: [client.transport.write(event) for client in self.subscribers]
        )


class Subscription(asyncio.Protocol):
    """One client of a hub, and the protocol of its connection."""

    needs_descriptor = False

    def __init__(self, hub: Hub, *, refuses: bool) -> None:
        self.hub = hub
        self.refuses = refuses
        self.received = b""
        self.transport: asyncio.Transport
        self.is_started = False
        self.on_closed: Callable[[Exception | None], None]

    async def prepare(self) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            raise HttpError(503, "No events today.")

    def start(
        self,
        transport: asyncio.Transport,
        received: bytes,
        *,
        has_ended: bool,
        on_closed: Callable[[Exception | None], None],
    ) -> None:
        self.transport, self.received, self.on_closed = transport, received, on_closed
        self.is_started = True
        transport.set_protocol(self)
        self.hub.subscribers.add(self)
        self.hub.subscribed.release()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.subscribers.discard(self)
        self.hub.unsubscribed.release()
        self.on_closed(exc)

    def tick(self) -> None:
        pass

    def stop(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.hub.aborted.release()
        if self.is_started:
            self.transport.abort()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * CLIENTS:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def acquire(semaphore: threading.Semaphore, times: int = 1) -> None:
    for _ in range(times):
        assert semaphore.acquire(timeout=TIMEOUT)


def read_until(client: socket.socket, ending: bytes) -> bytes:
    received = b""
    while not received.endswith(ending):
        data = client.recv(1 << 16)
        assert data
        received += data
    return received


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("model", LOOP_PARAMS)
def test_a_thousand_clients_get_each_event(model: str) -> None:
    hub = Hub()
    with serving(model, hub.subscribe) as served, ExitStack() as stack:
        clients = [stack.enter_context(connect(served)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        acquire(hub.subscribed, CLIENTS)
        hub.publish(EVENT)
        for client in clients:
            head, _, body = read_until(client, EVENT).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nContent-Type: text/event-stream\r\nConnection: close" in head
            assert b"Content-Length" not in head
            assert b"Transfer-Encoding" not in head
            assert body == EVENT
        stack.close()
        acquire(hub.unsubscribed, CLIENTS)
        assert len(served.log) == CLIENTS
    assert not hub.subscribers


@pytest.mark.parametrize("model", LOOP_PARAMS)
def test_the_stop_of_the_server_ends_the_streams(model: str) -> None:
    hub = Hub()
    with ExitStack() as stack:
        served = stack.enter_context(serving(model, hub.subscribe))
        client = connect(served)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nand more")
        acquire(hub.subscribed)
        assert {subscription.received for subscription in hub.subscribers} == {b"and more"}
    with client:  # the server has stopped, and did not wait for its grace period
        assert read_all(client).endswith(b"\r\n\r\n")
    acquire(hub.unsubscribed)


@pytest.mark.parametrize("model", LOOP_PARAMS)
def test_an_error_before_the_head_is_an_ordinary_response(model: str) -> None:
    hub = Hub()
    with serving(model, hub.subscribe) as served, connect(served) as client:
        client.sendall(b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n" + request("/no"))
        responses = read_all(client)
        acquire(hub.aborted, 2)
    assert responses.count(b"HTTP/1.1 503 Service Unavailable\r\n") == 2
    assert responses.count(b"No events today.") == 2


class Broken(Subscription):
    """A takeover that raises in one of its steps."""

    def __init__(self, hub: Hub, step: str) -> None:
        super().__init__(hub, refuses=False)
        self.step = step

    async def prepare(self) -> None:
        if self.step == "prepare":
            raise ZeroDivisionError

    def start(self, *args: Any, **options: Any) -> None:
        if self.step == "start":
            raise ZeroDivisionError
        super().start(*args, **options)


@pytest.mark.parametrize(("step", "begin"), [("prepare", b"HTTP/1.1 500 "), ("start", b"")])
@pytest.mark.parametrize("model", LOOP_PARAMS)
def test_an_internal_error_of_a_takeover_ends_its_connection_alone(
    model: str, step: str, begin: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub()

    def handle(request: Request) -> Response:
        if request.target == "/ok":
            return Response(200, body=(b"ok",), length=2)
        return Response(200, takeover=Broken(hub, step))

    with serving(model, handle) as served:
        with connect(served) as client:
            client.sendall(request())
            assert read_until_cut(client).startswith(begin)
        acquire(hub.aborted)
        with connect(served) as other:
            other.sendall(request("/ok"))
            assert read_all(other).endswith(b"\r\n\r\nok")
    (record,) = caplog.records
    assert "ZeroDivisionError" in record.getMessage()


@pytest.mark.parametrize("model", LOOP_PARAMS)
def test_a_client_that_goes_away_ends_the_preparation(model: str) -> None:
    hub = Hub()
    preparing = threading.Semaphore(0)

    class Slow(Subscription):
        async def prepare(self) -> None:
            preparing.release()
            await asyncio.Event().wait()

    def handle(_: Request) -> Response:
        return Response(200, takeover=Slow(hub, refuses=False))

    with serving(model, handle) as served, connect(served) as client:
        client.sendall(request())
        acquire(preparing)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        acquire(hub.aborted)


@pytest.mark.parametrize("model", OTHER_PARAMS)
def test_a_model_without_a_loop_says_that_it_cannot(model: str) -> None:
    hub = Hub()

    def handle(_: Request) -> Response:
        return Response(200, takeover=Subscription(hub, refuses=False))

    with serving(model, handle) as served, connect(served) as client:
        client.sendall(request())
        assert read_all(client).startswith(b"HTTP/1.1 501 Not Implemented\r\n")
        acquire(hub.aborted)
