"""A call of a sink takes the shortest way to a response, and closes the sink with it."""

import pytest

from aserve.http.messages import BodySink, HttpError, Response
from aserve.transport.eventloop.sink_call import SinkCall

STORED = Response(201)


class Sink:
    """Notes its calls; one of them may fail."""

    max_size = 1 << 20
    may_wait = True

    def __init__(self, failing: str = "", error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self._failing = failing
        self._error = error

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self._error and call == self._failing:
            raise self._error

    def begin(self) -> None:
        self._note("begin")

    def write(self, data: bytes) -> None:
        self._note(f"write {data.decode()}")

    def respond(self) -> Response:
        self._note("respond")
        return STORED

    def close(self) -> None:
        self._note("close")


class WholeSink(Sink):
    """Takes whole bodies in one call."""

    def store(self, data: bytes) -> Response:
        self._note(f"store {data.decode()}")
        return STORED


@pytest.mark.parametrize(
    ("sink", "data", "calls"),
    [
        (Sink(), b"a", ["begin", "write a", "respond", "close"]),
        (Sink(), b"", ["begin", "respond", "close"]),
        (WholeSink(), b"a", ["store a", "close"]),
        (WholeSink(), b"", ["store ", "close"]),
    ],
)
def test_a_body_that_is_there_as_a_whole(sink: Sink, data: bytes, calls: list[str]) -> None:
    call = SinkCall(sink, data, begins=True, is_complete=True)
    assert call() is STORED
    call.close()  # when the client has gone meanwhile
    assert sink.calls == calls


@pytest.mark.parametrize("kind", [Sink, WholeSink])
def test_a_body_in_pieces(kind: type[Sink]) -> None:
    sink = kind()
    for number, data in enumerate((b"a", b"b", b"")):
        result = SinkCall(sink, data, begins=number == 0, is_complete=number == 2)()
        assert result is (STORED if number == 2 else None)
    assert sink.calls == ["begin", "write a", "write b", "respond", "close"]


@pytest.mark.parametrize("failing", ["begin", "write a", "respond"])
def test_a_sink_that_rejects_a_body_is_closed_once(failing: str) -> None:
    error = HttpError(507, "The disk is full.")
    sink = Sink(failing, error)
    call = SinkCall(sink, b"a", begins=True, is_complete=True)
    assert call() is error
    call.close()
    assert sink.calls[-2:] == [failing, "close"]


def test_a_sink_that_fails_is_closed_by_the_one_that_the_error_reaches() -> None:
    sink: BodySink = Sink("respond", ZeroDivisionError())
    call = SinkCall(sink, b"a", begins=True, is_complete=True)
    with pytest.raises(ZeroDivisionError):
        call()
    assert isinstance(sink, Sink)
    assert sink.calls == ["begin", "write a", "respond"]
    call.close()
    assert sink.calls[3:] == ["close"]


def test_a_response_is_not_lost_to_an_error_of_close(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink("close", ZeroDivisionError())
    assert SinkCall(sink, b"a", begins=True, is_complete=True)() is STORED
    assert "internal error: ZeroDivisionError" in caplog.text
