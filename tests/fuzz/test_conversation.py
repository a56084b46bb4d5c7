"""Any conversation at all: what is sent, when it arrives, when it is answered, and who hangs up."""

from pathlib import Path
from typing import NamedTuple

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
from aserve.handlers.static_site import StaticSite
from aserve.http.messages import HttpError, Request
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import TRANSITIONS, State
from tests.conformance.reader import Reader, Reply
from tests.fuzz.properties import octets_of

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = 1_800_000_000
LIMITS = Limits(max_request_line=200, max_header_size=1_000, max_headers=20, max_body=100)
STEPS = {(before, after) for (before, _), after in TRANSITIONS.items()}


class Message(NamedTuple):
    """What a client sends, and what is owed for it.

    answerable: octets after which the reply can be made; status: that it must have, 0 for any
    error of the client's; last: whether the connection ends with it.
    """

    octets: bytes
    answerable: int
    method: str
    status: int
    last: bool = False


def message(line: str, status: int, fields: str = "", content: bytes = b"") -> Message:
    """Make a message that is in order."""
    method, version = line.split(" ", maxsplit=1)[0], int(line[-1])
    head = f"{line}\r\nHost: x\r\n{fields}\r\n".encode()
    expects = "Expect" in fields
    # RFC 9112 section 2.2 for 400, 9.3 for the others.
    last = expects or "close" in fields or (version == 0 and "keep-alive" not in fields)
    last = last or status == 400
    octets = head + content
    return Message(octets, len(head if expects else octets), method, status, last)


TARGETS = st.sampled_from([("/", 200), ("/a.txt", 200), ("/none", 404), ("/sub", 301), ("/%", 400)])
EXTENSION = st.sampled_from([b"", b";a", b';b="c;\\""', b" ; d=e"])
TRAILERS = st.sampled_from([b"", b"T: u\r\n", b"Content-Length: 9\r\nHost: y\r\n"])


@st.composite
def reading(draw: st.DrawFn) -> Message:
    """A request without content."""
    method = draw(st.sampled_from(["GET", "HEAD"]))
    target, status = draw(TARGETS)
    version, fields = draw(
        st.sampled_from(
            [(1, ""), (1, "Connection: close\r\n"), (0, ""), (0, "Connection: keep-alive\r\n")]
        )
    )
    if status == 200 and draw(st.booleans()):
        fields, status = fields + "If-None-Match: *\r\n", 304
    elif status == 200 and method == "GET" and draw(st.booleans()):
        fields, status = fields + "Range: bytes=0-0,2-2\r\n", 206
    return message(f"{method} {target} HTTP/1.{version}", status, fields)


@st.composite
def writing(draw: st.DrawFn) -> Message:
    """A request with content, sized or in chunks."""
    content = draw(
        st.binary(max_size=LIMITS.max_body) | st.just(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    )
    fields = draw(st.sampled_from(["", "Connection: close\r\n", "Expect: 100-continue\r\n"]))
    if draw(st.booleans()):
        fields += f"Content-Length: {len(content)}\r\n"
        if not content:
            fields = fields.replace("Expect: 100-continue\r\n", "")
        return message("POST /a.txt HTTP/1.1", 405, fields, content)
    size = draw(st.integers(1, LIMITS.max_body))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(part), draw(EXTENSION), part) for part in parts[:8])
    framed += b"0" + draw(EXTENSION) + b"\r\n" + draw(TRAILERS) + b"\r\n"
    return message("PUT /a.txt HTTP/1.1", 405, fields + "Transfer-Encoding: chunked\r\n", framed)


@st.composite
def garbage(draw: st.DrawFn) -> Message:
    """What no server may take for a request, and nothing that comes after it either."""
    octets = draw(
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
    method = octets.split(b" ")[0].decode("latin-1")
    return Message(octets, len(octets), method, 0, last=True)


class Watched(H1Connection):
    """An Exchange that takes no step which is not in the table."""

    __slots__ = ("_state",)

    @property
    def state(self) -> State:
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        assert not hasattr(self, "_state") or (self._state, state) in STEPS
        self._state = state


class Conversation(RuleBasedStateMachine):
    """A client writes to its outbox; octets leave that in any sizes; aserve answers when it may."""

    def __init__(self, site: StaticSite) -> None:
        super().__init__()
        self.site = site
        self.exchange = Watched(LIMITS)
        self.outbox = b""
        self.sent = 0
        self.written = 0  # octets, all messages together
        self.owed: list[tuple[int, Message]] = []  # up to which octet, each; in order
        self.request: Request | None = None
        self.replying = False
        self.ended = False  # the client has shut its side
        self.given_up = False  # on the request that is arriving
        self.final = False
        self.over = False  # the last reply has been made
        self.lost = False

    def teardown(self) -> None:
        """Whatever has been said: what is complete is answered in the end, and only that."""
        if self.lost:
            return
        self.send_all()
        self.serve()
        assert self.over or all(end > self.sent for end, _ in self.owed)

    # The client

    @rule(message=reading() | reading() | writing() | garbage())
    def write(self, message: Message) -> None:
        self.owed.append((self.written + message.answerable, message))
        self.written += len(message.octets)
        self.outbox += message.octets

    @rule()
    def write_empty_line(self) -> None:
        self.outbox += b"\r\n"
        self.written += 2

    @rule(size=st.integers(0, 40) | st.integers(0, 2_000))
    def send(self, size: int) -> None:
        if not self.ended:
            piece, self.outbox = self.outbox[:size], self.outbox[size:]
            self.sent += len(piece)
            self.exchange.receive(piece)

    @rule()
    def send_all(self) -> None:
        self.send(len(self.outbox))

    # The server

    @precondition(lambda self: self.request is None)
    @rule()
    def take(self) -> None:
        self._take()

    def _take(self) -> Request | None:
        self.request = self.exchange.next_request()
        if self.request:
            assert not self.over
            assert not self.lost
        return self.request

    @rule()
    def serve(self) -> None:
        """Answer all that can be answered."""
        self._finish_reply()
        while self.request or (not self.over and self._take()):
            self.answer()
            self._finish_reply()

    @rule(how=st.sampled_from(["client ends", "owner finishes", "too late", "lost"]))
    def come_to_an_end(self, how: str) -> None:
        """One rule for all, so that not every conversation is a short one."""
        if how == "client ends":
            self.ended = True
            self.exchange.receive_eof()
        elif how == "owner finishes":
            self.final = True
            self.exchange.close_after_response()
        elif how == "too late" and self.exchange.state in {State.HEAD, State.BODY}:
            self.given_up = True
            self.request = self.exchange.reject(HttpError(408, "The request came too late."))
        elif how == "lost":
            self.exchange.close()
            self.lost = True
            self.request = None

    @precondition(lambda self: self.request and not self.replying)
    @rule()
    def answer(self) -> None:
        assert self.request
        sent = octets_of(self.exchange.start_response(self.site.handle(self.request, NOW), DATE))
        reader = Reader(iter((sent, b"")).__next__)
        reply = reader.read_reply(self.request.method)
        assert reply
        assert reader.rest() == b""
        self._judge(self.request, reply)
        self.replying = True

    @precondition(lambda self: self.replying)
    @rule()
    def reply_has_left(self) -> None:
        self._finish_reply()

    def _finish_reply(self) -> None:
        if self.replying and not self.lost:
            self.exchange.response_sent()
            self.over = self.exchange.state >= State.LINGERING
            self.request = None
        self.replying = False

    def _judge(self, request: Request, reply: Reply) -> None:
        """Compare a reply with what is owed first."""
        closes = reply.get("connection") == "close"
        if self.given_up:
            assert (reply.status, closes) == (408, True)
            return
        end, message = self.owed[0]
        if end > self.sent and message.status:
            # It will not be complete any more.
            assert (self.ended, reply.status, closes) == (True, 400, True)
            return
        self.owed.pop(0)
        if message.status:
            assert end <= self.sent
            assert (request.method, reply.status) == (message.method, message.status)
        else:
            assert 400 <= reply.status < 600
            assert reply.status != 500
        assert closes == (message.last or self.final)

    # What holds at any time

    @invariant()
    def input_is_bounded_by_what_was_sent(self) -> None:
        assert 0 <= self.exchange.buffered <= self.sent

    @invariant()
    def after_the_last_reply_there_is_nothing(self) -> None:
        if self.over:
            assert self.exchange.state >= State.LINGERING
            assert self.exchange.buffered == 0
            assert self.exchange.next_request() is None

    @invariant()
    def one_request_is_out_at_a_time(self) -> None:
        if self.request and not self.lost:
            assert self.exchange.next_request() is None


def test_conversation(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>home</h1>")
    (tmp_path / "a.txt").write_text("alpha")
    (tmp_path / "sub").mkdir()
    site = StaticSite(Directory(tmp_path))
    run_state_machine_as_test(
        lambda: Conversation(site),
        settings=settings(max_examples=300, stateful_step_count=40, deadline=None),
    )
