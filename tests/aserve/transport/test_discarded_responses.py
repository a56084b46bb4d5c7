"""Responses that are not sent are released: a stream in a thread, where that may wait."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodySink, BodyStream, Request, Response
from tests.aserve.transport.fake_client import FakeClient

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"


class Held:
    """A stream's pieces and a takeover: notes which thread closes the one and aborts the other."""

    needs_descriptor = False

    def __init__(self) -> None:
        self.closed_by: asyncio.Queue[str] = asyncio.Queue()
        self.aborted_by: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise AssertionError("it must not be read")

    def close(self) -> None:
        self._note(self.closed_by)

    def abort(self) -> None:
        self._note(self.aborted_by)

    def _note(self, queue: "asyncio.Queue[str]") -> None:
        self._loop.call_soon_threadsafe(queue.put_nowait, threading.current_thread().name)

    def stream(self) -> Response:
        return Response(200, body=(BodyStream(self),))

    def takeover(self) -> Response:
        takeover: Any = self
        return Response(200, takeover=takeover)

    def ending(self) -> Response:
        return Response(200, on_end=lambda *_: self._note(self.closed_by))

    async def check_released(self, response: Response) -> None:
        if response.takeover:
            assert await self.aborted_by.get() == threading.current_thread().name
        else:
            assert await self.closed_by.get() == "worker-0"


MAKERS = pytest.mark.parametrize(
    "make",
    [Held.stream, Held.takeover, Held.ending],
    ids=["stream", "takeover", "with an end"],
)
Make = Callable[[Held], Response]


class SlowClient(FakeClient):
    """A client whose response waits in a thread until the gate opens."""

    def __init__(self, response: Response) -> None:
        super().__init__(lambda _: response)
        self.response = response
        self.error: Exception | None = None
        self.has_closed_sink = False
        self.entered, self.gate = asyncio.Event(), threading.Event()
        self.loop = asyncio.get_running_loop()

    def handle(self, request: Request, context: RequestContext) -> Response:
        if not context.may_wait:
            raise BlockingIOError
        return self.respond()

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        return Sink(self)

    def respond(self) -> Response:
        self.loop.call_soon_threadsafe(self.entered.set)
        self.gate.wait()
        if self.error:
            raise self.error
        return self.response


class Sink:
    """Has its client's response, slowly."""

    max_size = 1
    may_wait = True

    def __init__(self, client: SlowClient) -> None:
        self.respond = client.respond
        self._client = client

    def begin(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self._client.has_closed_sink = True


@pytest.mark.parametrize("message", [GET, PUT], ids=["a handler's", "a sink's"])
@MAKERS
async def test_a_response_is_released_if_the_client_has_gone(make: Make, message: bytes) -> None:
    held = Held()
    response = make(held)
    client = SlowClient(response)
    client.send(message)
    await client.entered.wait()
    client.connection.connection_lost(None)
    client.gate.set()
    await held.check_released(response)
    await client.close()


async def test_a_response_is_released_for_which_there_is_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Held()
    response = held.stream()
    client = FakeClient(lambda _: response)
    monkeypatch.setattr(client.server.limiter, "reserve_descriptors", lambda *_: False)
    client.send(GET)
    await held.check_released(response)
    await client.close()


async def test_a_response_is_released_if_the_client_goes_while_it_is_made() -> None:
    held = Held()
    response = held.stream()
    client = FakeClient(lambda _: (client.transport.close(), response)[1])
    client.send(GET)
    await held.check_released(response)
    await client.close()


async def test_a_stop_waits_for_the_sink_of_a_client_that_it_has_cut_off() -> None:
    client = SlowClient(Response(201))
    client.send(PUT)
    await client.entered.wait()
    stopping = asyncio.create_task(client.server.stop(0))
    while client.server.connections:  # noqa: ASYNC110 - the stop says nothing of it
        await asyncio.sleep(0)
    assert not client.has_closed_sink
    client.gate.set()
    await stopping
    assert client.has_closed_sink


async def test_an_error_of_a_sink_whose_client_has_gone_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = SlowClient(Response(201))
    client.error = ZeroDivisionError()
    client.send(PUT)
    await client.entered.wait()
    client.connection.connection_lost(None)
    client.gate.set()
    await client.close()
    assert "ZeroDivisionError" in caplog.text


async def test_a_stream_that_head_does_not_get_is_closed_in_a_thread() -> None:
    held = Held()
    response = held.stream()
    client = FakeClient(lambda _: response)
    client.send(GET.replace(b"GET", b"HEAD"))
    await held.check_released(response)
    await client.close()
