"""One connection's conversation, without I/O: pipelining, persistence, content, when it ends."""

import re

from aserve.semantics.messages import Piece, Refused, Request, Response, head_bytes
from aserve.wire import parsing
from aserve.wire.contents import Chunked, Framing, Sized
from aserve.wire.limits import Limits
from aserve.wire.states import TRANSITIONS, Event, State

_HEAD_END = b"\r\n\r\n"
_NOTHING_YET = frozenset({b"", b"\r"})
_EMPTY_LINES = re.compile(rb"(?:\r\n)*")


class Exchange:
    """Octets in, Requests out; Responses in, pieces out.

    One request is out at a time: pipelined ones wait in the input, so answers keep their order
    and nothing but the input needs a bound (backlog). How the input is cut into pieces makes no
    difference to what comes out.
    """

    __slots__ = (
        "_at",
        "_ended",
        "_final",
        "_framing",
        "_input",
        "_judged",
        "_limits",
        "_persistent",
        "_request",
        "_unread",
        "at_rest",
        "halted",
        "state",
    )

    def __init__(self, limits: Limits) -> None:
        self.state = State.IDLE
        self.at_rest = True  # between requests, with nothing received and not yet dealt with
        self.halted = False
        """Whether next_request stopped to let other connections go on: call it again, later."""
        self._limits = limits
        self._input = b""
        self._at = 0  # what lies before it has been dealt with
        self._final = False  # the next response is the connection's last
        self._ended = False  # the client will send no more
        self._request: Request | None = None
        self._framing: Framing | None = None  # content that is announced and not yet read
        self._persistent = True
        self._judged = 0  # octets of the head that is arriving that were found to be in order
        self._unread = False  # the client may be sending what nobody will read

    @property
    def backlog(self) -> int:
        """Octets received and not yet dealt with."""
        return len(self._input) - self._at

    def receive(self, octets: bytes) -> None:
        """Take what has arrived."""
        self.at_rest = False
        if self.state >= State.LINGERING:
            return
        if self._at < len(self._input):
            octets = self._input[self._at :] + octets
        self._input, self._at = octets, 0

    def receive_end(self) -> None:
        """Note that the client has sent all it will: what it asked for is still answered."""
        self._ended = True
        self.at_rest = False
        if self.state is State.LINGERING:
            self.end()

    def next_request(self) -> Request | None:
        """Return the next request; None while its input is incomplete or another one is out."""
        if self.state >= State.ANSWERING:
            return None
        try:
            self._read()
        except Refused as refused:
            return self.refuse(refused)
        return self._request if self.state is State.ANSWERING else None

    def next_head(self) -> bytes | None:
        """Return the head that comes next, unread, if it has arrived whole and nothing is out."""
        if self.state is not State.IDLE:
            return None
        end = self._input.find(_HEAD_END, self._at)
        return self._input[self._at : end + len(_HEAD_END)] if end >= 0 else None

    def skip(self, head: bytes) -> None:
        """Pass over next_head's head: it is answered without being read."""
        self._at += len(head)
        self.at_rest = not (self.backlog or self._final or self._ended)

    def refuse(self, refused: Refused) -> Request:
        """Give up on the request that is arriving and return it, to be answered with an error.

        Also on one that is out, or whose response failed before any of it was sent.
        """
        request = self._request or parsing.glimpse(self._input[self._at :])
        self._request = request._replace(refusal=refused)
        self._persistent, self._unread = False, True
        self.halted = False
        self._move(Event.REFUSED)
        return self._request

    def reply(self, response: Response, date: str) -> list[Piece]:
        """Return what to send, in order. date: the value of the Date field."""
        self._persistent = self.persists and not response.close
        option = None if response.tunnel else self._connection_option()
        head = head_bytes(response, date, option)
        self._move(Event.ANSWERED)
        first, *others = response.body or (b"",)
        if isinstance(first, bytes):
            return [head + first, *others]  # one write instead of two
        return [head, first, *others]

    def repeat(self, *, closes: bool) -> None:
        """Note that a reply which was made before leaves again, in place of reply's pieces."""
        self._persistent = self.persists and not closes
        self._move(Event.ANSWERED)

    def finish(self) -> None:
        """Make the next response the connection's last, or the one that is leaving."""
        self._final = True
        self.at_rest = False

    @property
    def ended(self) -> bool:
        """Whether the client will send no more."""
        return self._ended

    @property
    def persists(self) -> bool:
        """Whether the connection outlives the response to the request that is out."""
        return self._persistent and not self._final

    def replied(self) -> None:
        """Note that the whole response has been handed on."""
        self._request = None
        # A reply that began before finish has promised to go on; it is not broken by closing a
        # connection on which nothing more has been asked (RFC 9112 section 9.3.1).
        if self._persistent and (self.backlog or not self._final):
            self._move(Event.KEPT)
            self.at_rest = not (self.backlog or self._final or self._ended)
        else:
            unread = (self._unread or self.backlog > 0) and not self._ended
            self._input, self._at = b"", 0
            self._move(Event.CUT_SHORT if unread else Event.SPENT)

    def tunnelled(self) -> bytes:
        """Note that the connection now is a tunnel; return what arrived for its other end."""
        self._move(Event.TUNNELLED)
        octets, self._input = self._input[self._at :], b""
        self._at = 0
        return octets

    def end(self) -> None:
        """Note that nothing more will arrive or leave."""
        self._move(Event.ENDED)

    def _move(self, event: Event) -> None:
        self.at_rest = False
        self.state = TRANSITIONS[self.state, event]

    def _read(self) -> None:
        if self.state is State.IDLE:
            self._await_head()
        if self.state is State.HEAD:
            self._read_head()
        if self.state is State.BODY:
            self._read_past_content()
        if self._ended and self.state < State.ANSWERING and not self.halted:
            if self.state is not State.IDLE:
                raise Refused(400, "The request ended before it was complete.")
            self.end()

    def _await_head(self) -> None:
        """Pass over empty lines before a request line (RFC 9112 section 2.2)."""
        if self._input.startswith(b"\r\n", self._at):
            # Matched at once: 131,000 empty lines in one read took 13 ms as a loop.
            empty = _EMPTY_LINES.match(self._input, self._at)
            self._at = empty.end() if empty else self._at
        beginning = self._input[self._at : self._at + 2]
        if beginning in _NOTHING_YET:
            return
        self._move(Event.HEAD_BEGUN)
        if beginning[0] in b"\r\n":
            raise Refused(400, "A line ends with something else than CR LF.")

    def _read_head(self) -> None:
        end = self._input.find(_HEAD_END, self._at)
        stop = end + len(_HEAD_END) if end >= 0 else len(self._input)
        octets = self._input[self._at : stop]
        parsing.require_size(octets, self._limits)
        if end < 0:
            self._check_beginning(octets)
            return
        self._judged = 0
        self._request, section = parsing.parse_head(octets)
        self._at = stop
        self._begin(section)

    def _check_beginning(self, octets: bytes) -> None:
        """Judge a line when it is complete, not at each octet: what trickles in stays cheap."""
        lines_end = octets.rfind(b"\n") + 1
        if not lines_end:
            parsing.check_beginning(octets)
        elif lines_end > self._judged:
            parsing.check_beginning(octets[:lines_end])
            self._judged = lines_end

    def _begin(self, section: parsing.Section) -> None:
        """Choose how the content is to be read past, and whether at all."""
        self._persistent = section.persistent
        length = section.length
        if length == 0:
            self._move(Event.HEAD_ENDED)
            return
        limit = self._limits.body
        self._framing = Chunked(limit, self._limits.head) if length is None else Sized(length)
        if section.expects_continue:
            # Nothing here stores content, so it is not invited: the answer is final and the
            # connection cannot go on, since the client may send it all the same (RFC 9110 10.1.1).
            self._persistent, self._unread = False, True
            self._move(Event.HEAD_ENDED)
        elif length is not None and length > limit:
            raise Refused(413, "The content of the request is too large.")
        else:
            self._move(Event.CONTENT_ANNOUNCED)

    def _read_past_content(self) -> None:
        framing = self._framing
        if framing is None:
            return
        self._at = framing.consume(self._input, self._at)
        self.halted = framing.halted
        if framing.complete:
            self._framing = None
            self._move(Event.CONTENT_ENDED)

    def _connection_option(self) -> str | None:
        """Return the Connection field's value, None where the version implies it (9112 9.3)."""
        if not self._persistent:
            return "close"
        return "keep-alive" if self._request and self._request.minor == 0 else None
