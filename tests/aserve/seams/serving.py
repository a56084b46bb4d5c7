"""Runs a handler under any I/O model, in a thread."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.limits import Limits
from aserve.policies.response_memory import ResponseMemory
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.server.event_loops import new_event_loop, standard_event_loop
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.registry import DEFAULT, MODELS
from tests.marks import slow_except

TIMEOUT = 60.0
NAMES = [
    name
    for name, row in MODELS.items()
    if not (row.unavailable_reason() or row.needs_processes)  # of those, each test has to know
]


class Case(NamedTuple):
    """A model, and whether the handler says that it may have to wait."""

    model: str
    may_wait: bool

    def __str__(self) -> str:
        return f"{self.model}, {'waits' if self.may_wait else 'never waits'}"


ITERATIVE = "iterative"
"""The model among these that serves one client after the other."""
QUICK = [name for name in (DEFAULT, "blocking", "epoll-et", "proactor") if name in NAMES]
"""The models whose tests are part of every run: one of each kind of connection and of waiting."""
MODEL_PARAMS = slow_except(NAMES, *QUICK)
# For tests in which a second client is served beside the first one.
SEVERAL_AT_A_TIME = slow_except([name for name in NAMES if name != ITERATIVE], *QUICK)
# Only an event loop makes a difference between the two cases.
CASES = [Case(name, may_wait=True) for name in NAMES]
CASES += [Case(name, may_wait=False) for name in NAMES if MODELS[name].uses_event_loop]
CASE_PARAMS = slow_except(CASES, *(case for case in CASES if case.model in QUICK))

Handle = Callable[[Request], Response]


class FunctionHandler:
    """A handler that is a function, and never has to wait."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def handle(self, request: Request, context: RequestContext) -> Response:
        return self._handle(request)


class Served(NamedTuple):
    """A running server. log: what its observer was called with."""

    address: tuple[str, int]
    log: list[tuple[Any, ...]]
    logged: threading.Semaphore


@contextmanager
def serving(
    model: str, handler: Handle | FunctionHandler, memory: ResponseMemory | None = None
) -> Iterator[Served]:
    """Serve until the block ends, then stop once all responses are sent."""
    log: list[tuple[Any, ...]] = []
    logged = threading.Semaphore(0)

    def observe(*entry: Any) -> None:
        log.append(entry)
        logged.release()

    serve = _serve_on_loop if MODELS[model].uses_event_loop else _serve_on_thread
    ours, control = socket.socketpair()
    with ours, control, socket.create_server(("127.0.0.1", 0), backlog=1_024) as listener:
        address = listener.getsockname()
        is_function = not isinstance(handler, FunctionHandler)
        handler = FunctionHandler(handler) if is_function else handler
        site = Site(handler, [ServerHeader()], memory=memory)
        thread = threading.Thread(target=serve, args=(model, site, listener, observe, control))
        thread.start()
        try:
            yield Served(address, log, logged)
        finally:
            ours.send(b"s")
            thread.join(TIMEOUT)
        assert not thread.is_alive()


def _serve_on_thread(
    model: str, site: Any, listener: socket.socket, observe: Any, control: socket.socket
) -> None:
    server = MODELS[model].create_server(site, Limits(), observe)
    server.run([listener], (control.fileno(),), TIMEOUT)


def _serve_on_loop(
    model: str, site: Any, listener: socket.socket, observe: Any, control: socket.socket
) -> None:
    async def serve() -> None:
        server = EventLoopServer(site, Limits(), PoolSize(2, 8), observe)
        await server.start([listener])
        control.setblocking(False)
        await asyncio.get_running_loop().sock_recv(control, 1)
        await server.stop(TIMEOUT)

    loop = standard_event_loop if model == "asyncio" else new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(serve())


def connect(served: Served) -> socket.socket:
    """Return a client whose calls end after a while."""
    return socket.create_connection(served.address, TIMEOUT)


def read_all(client: socket.socket) -> bytes:
    """Return what is received up to the end of the connection."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def read_until_cut(client: socket.socket) -> bytes:
    """Return what is received until the connection is closed or reset."""
    received = b""
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 16):
            received += data
    return received


def request(target: str = "/", *, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request that is the last one on its connection."""
    return f"{method} {target} HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
