"""Event loops of the benchmarks: each is the one that a worker runs on."""

import asyncio
import socket
from typing import Any

import pytest

from aserve.server import worker
from benchmarks.loops import serve


class Poor(asyncio.SelectorEventLoop):
    """A loop as poor as the newer ones are."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        assert isinstance(fd, int)
        super().add_reader(fd, callback, *args)

    async def connect_accepted_socket(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class Receiving(asyncio.Protocol):
    """Gives what it receives to a future."""

    def __init__(self, received: "asyncio.Future[bytes]") -> None:
        self.received = received

    def data_received(self, data: bytes) -> None:
        self.received.set_result(data)


def test_a_worker_runs_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "new_event_loop", None)  # restored after the test
    serve.use("asyncio")
    loop = worker.new_event_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_what_a_loop_lacks_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "import_module", lambda _: serve)
    monkeypatch.setattr(serve, "Poor", Poor, raising=False)
    loop = serve._completed("any", "Poor")()

    async def accept() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            arrived = loop.create_future()
            loop.add_reader(listener, lambda: arrived.done() or arrived.set_result(None))
            with socket.create_connection(listener.getsockname()) as client:
                await arrived
                assert loop.remove_reader(listener)
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                received = loop.create_future()
                transport, _ = await loop.connect_accepted_socket(
                    lambda: Receiving(received), accepted
                )
                client.sendall(b"hello")
                data: bytes = await received
                transport.close()
                await asyncio.sleep(0)  # the turn in which it closes the socket
                return data

    try:
        assert loop.run_until_complete(accept()) == b"hello"
    finally:
        loop.close()
