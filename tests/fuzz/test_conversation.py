"""A state machine of any client and server: what is sent, when it arrives, and who closes."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, Request
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import TRANSITIONS, State
from aserve.policies.site import Site
from tests.conformance.reader import Reader, Response
from tests.fuzz.properties import to_bytes
from tests.marks import slow_except

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = 1_800_000_000
LIMITS = Limits(max_request_line=200, max_header_size=1_000, max_headers=20, max_body=100)
STATE_CHANGES = {(before, after) for (before, _), after in TRANSITIONS.items()}


class Message(NamedTuple):
    """What a client sends, and the response it must get.

    required_size: bytes after which the response can be made. status: the response's status, 0 for
    any client or server error but 500. last: whether the connection closes after it.
    """

    data: bytes
    required_size: int
    method: str
    status: int
    last: bool = False


def message(line: str, status: int, headers: str = "", body: bytes = b"") -> Message:
    """Return a valid message."""
    method, version = line.split(" ", maxsplit=1)[0], int(line[-1])
    head = f"{line}\r\nHost: x\r\n{headers}\r\n".encode()
    expects = "Expect" in headers
    # RFC 9112 section 2.2 for 400, 9.3 for the others.
    last = expects or "close" in headers or (version == 0 and "keep-alive" not in headers)
    last = last or status == 400
    data = head + body
    return Message(data, len(head if expects else data), method, status, last)


TARGETS = st.sampled_from([("/", 200), ("/a.txt", 200), ("/none", 404), ("/sub", 301), ("/%", 400)])
EXTENSION = st.sampled_from([b"", b";a", b';b="c;\\""', b" ; d=e"])
TRAILERS = st.sampled_from([b"", b"T: u\r\n", b"Content-Length: 9\r\nHost: y\r\n"])


@st.composite
def bodiless_request(draw: st.DrawFn) -> Message:
    """A request without a body."""
    method = draw(st.sampled_from(["GET", "HEAD"]))
    target, status = draw(TARGETS)
    version, headers = draw(
        st.sampled_from(
            [(1, ""), (1, "Connection: close\r\n"), (0, ""), (0, "Connection: keep-alive\r\n")]
        )
    )
    if status == 200 and draw(st.booleans()):
        headers, status = headers + "If-None-Match: *\r\n", 304
    elif status == 200 and method == "GET" and draw(st.booleans()):
        headers, status = headers + "Range: bytes=0-0,2-2\r\n", 206
    return message(f"{method} {target} HTTP/1.{version}", status, headers)


@st.composite
def request_with_body(draw: st.DrawFn) -> Message:
    """A request with a body, with Content-Length or chunked."""
    body = draw(st.binary(max_size=LIMITS.max_body) | st.just(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    headers = draw(st.sampled_from(["", "Connection: close\r\n", "Expect: 100-continue\r\n"]))
    if draw(st.booleans()):
        headers += f"Content-Length: {len(body)}\r\n"
        if not body:
            headers = headers.replace("Expect: 100-continue\r\n", "")
        return message("POST /a.txt HTTP/1.1", 405, headers, body)
    size = draw(st.integers(1, LIMITS.max_body))
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    framed = b"".join(
        b"%x%b\r\n%b\r\n" % (len(chunk), draw(EXTENSION), chunk) for chunk in chunks[:8]
    )
    framed += b"0" + draw(EXTENSION) + b"\r\n" + draw(TRAILERS) + b"\r\n"
    return message("PUT /a.txt HTTP/1.1", 405, headers + "Transfer-Encoding: chunked\r\n", framed)


@st.composite
def garbage(draw: st.DrawFn) -> Message:
    """An invalid request; nothing after it may be parsed as a request either."""
    data = draw(
        st.sampled_from(
            [
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"GET / HTTP/1.1\r\n\r\n",
                b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
                b"GET / HTTP/1.1\nHost: x\n\n",
                b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 30 + b"\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
                b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            ]
        )
    )
    method = data.split(b" ")[0].decode("latin-1")
    return Message(data, len(data), method, 0, last=True)


class CheckedConnection(H1Connection):
    """An H1Connection that asserts every transition to be in the table."""

    __slots__ = ("_state",)

    @property
    def state(self) -> State:
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        assert not hasattr(self, "_state") or (self._state, state) in STATE_CHANGES
        self._state = state


class ConnectionMachine(RuleBasedStateMachine):
    """A client writes to its outbox and sends that in reads of any size; aserve answers."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.connection = CheckedConnection(LIMITS)
        self.outbox = b""
        self.sent = 0
        self.written = 0  # bytes of all messages
        self.pending: list[
            tuple[int, Message]
        ] = []  # with the position of their last byte, in order
        self.request: Request | None = None
        self.is_responding = False
        self.eof_sent = False  # the client has closed its side
        self.timed_out = False  # the request that is arriving
        self.is_closing = False
        self.is_closed = False  # the last response has been sent
        self.is_lost = False

    def teardown(self) -> None:
        """In the end every complete request has been answered, and only those."""
        if self.is_lost:
            return
        self.send_all()
        self.serve()
        assert self.is_closed or all(end > self.sent for end, _ in self.pending)

    # The client

    @rule(message=bodiless_request() | bodiless_request() | request_with_body() | garbage())
    def write(self, message: Message) -> None:
        self.pending.append((self.written + message.required_size, message))
        self.written += len(message.data)
        self.outbox += message.data

    @rule()
    def write_empty_line(self) -> None:
        self.outbox += b"\r\n"
        self.written += 2

    @rule(size=st.integers(0, 40) | st.integers(0, 2_000))
    def send(self, size: int) -> None:
        if not self.eof_sent:
            data, self.outbox = self.outbox[:size], self.outbox[size:]
            self.sent += len(data)
            self.connection.receive(data)

    @rule()
    def send_all(self) -> None:
        self.send(len(self.outbox))

    # The server

    @precondition(lambda self: self.request is None)
    @rule()
    def next_request(self) -> None:
        self._next_request()

    def _next_request(self) -> Request | None:
        self.request = self.connection.next_request()
        if self.request:
            assert not self.is_closed
            assert not self.is_lost
        return self.request

    @rule()
    def serve(self) -> None:
        """Answer all that can be answered."""
        self._finish_response()
        while self.request or (not self.is_closed and self._next_request()):
            self.answer()
            self._finish_response()

    @rule(how=st.sampled_from(["client eof", "server closes", "timeout", "connection is_lost"]))
    def end_connection(self, how: str) -> None:
        """One rule for all of them, so that not every run is short."""
        if how == "client eof":
            self.eof_sent = True
            self.connection.receive_eof()
        elif how == "server closes":
            self.is_closing = True
            self.connection.close_after_response()
        elif how == "timeout" and self.connection.state in {State.HEAD, State.BODY}:
            self.timed_out = True
            self.request = self.connection.reject(
                HttpError(408, "The request took too long to arrive.")
            )
        elif how == "connection is_lost":
            self.connection.close()
            self.is_lost = True
            self.request = None

    @precondition(lambda self: self.request and not self.is_responding)
    @rule()
    def answer(self) -> None:
        assert self.request
        sent = to_bytes(
            self.connection.start_response(
                self.site.handle(self.request, RequestContext(NOW)), DATE
            )
        )
        reader = Reader(iter((sent, b"")).__next__)
        response = reader.read_response(self.request.method)
        assert response
        assert reader.read_to_eof() == b""
        self._check(self.request, response)
        self.is_responding = True

    @precondition(lambda self: self.is_responding)
    @rule()
    def response_sent(self) -> None:
        self._finish_response()

    def _finish_response(self) -> None:
        if self.is_responding and not self.is_lost:
            self.connection.response_sent()
            self.is_closed = self.connection.state >= State.LINGERING
            self.request = None
        self.is_responding = False

    def _check(self, request: Request, response: Response) -> None:
        """Compare a response with the first pending message."""
        closes = response.get("connection") == "close"
        if self.timed_out:
            assert (response.status, closes) == (408, True)
            return
        end, message = self.pending[0]
        if end > self.sent and message.status:
            # It can no longer become complete.
            assert (self.eof_sent, response.status, closes) == (True, 400, True)
            return
        self.pending.pop(0)
        if message.status:
            assert end <= self.sent
            assert (request.method, response.status) == (message.method, message.status)
        else:
            assert 400 <= response.status < 600
            assert response.status != 500
        assert closes == (message.last or self.is_closing)

    # Invariants

    @invariant()
    def input_is_bounded_by_what_was_sent(self) -> None:
        assert 0 <= self.connection.buffered <= self.sent

    @invariant()
    def nothing_follows_the_last_response(self) -> None:
        if self.is_closed:
            assert self.connection.state >= State.LINGERING
            assert self.connection.buffered == 0
            assert self.connection.next_request() is None

    @invariant()
    def one_request_is_handled_at_a_time(self) -> None:
        if self.request and not self.is_lost:
            assert self.connection.next_request() is None


@pytest.mark.parametrize("conversations", slow_except([75, 300], 75))
def test_connection_machine(tmp_path: Path, conversations: int) -> None:
    (tmp_path / "index.html").write_text("<h1>home</h1>")
    (tmp_path / "a.txt").write_text("alpha")
    (tmp_path / "sub").mkdir()
    site = Site.of_files(Directory(tmp_path))
    run_state_machine_as_test(
        lambda: ConnectionMachine(site),
        settings=settings(max_examples=conversations, stateful_step_count=40, deadline=None),
    )
