"""The structure of a row, and the functions that rows are written with."""

import enum
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

from tests.conformance.reader import Response


class Level(enum.StrEnum):
    """The requirement level of a clause; OURS is a choice that the RFCs leave open."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    OURS = "ours"


class After(enum.StrEnum):
    """The state of the connection after the last expected response."""

    OPEN = "open"
    CLOSED = "closed"
    EITHER = "either"


MUST, SHOULD, MAY, OURS = Level.MUST, Level.SHOULD, Level.MAY, Level.OURS
OPEN, CLOSED, EITHER = After.OPEN, After.CLOSED, After.EITHER

HeaderCheck = str | re.Pattern[str] | Callable[[str], bool] | None
"""An exact value, a pattern, a predicate, or None: the header must be absent."""
BodyCheck = bytes | Callable[[Response], bool] | EllipsisType
"""Exact bytes, a predicate on the response, or ...: any body."""

NOW = int(time.time())
"""The time of the levels that have no clock."""

TUNNEL = "127.0.0.1:1"

PRESENT = re.compile(r".*")

_TAG = re.compile(rb"<<etag (?P<target>\S+) (?P<coding>\S+)>>")

TagOf = Callable[[str, str], str]
"""(target, content coding) -> the entity tag from the server under test."""


class NoStrongTag(Exception):
    """The row needs a strong entity tag and the server sends none."""


def tag(target: str, coding: str = "identity") -> str:
    """Return a placeholder for the entity tag that the server sends for a target."""
    return f"<<etag {target} {coding}>>"


def fill_tags(data: bytes, tag_of: TagOf) -> bytes:
    """Replace the placeholders of entity tags by those of the server."""

    def replace(match: re.Match[bytes]) -> bytes:
        return tag_of(match["target"].decode(), match["coding"].decode()).encode("latin-1")

    return _TAG.sub(replace, data)


@dataclass(frozen=True, slots=True)
class Message:
    """A request as sent. pure: (method, target, minor, headers) of a well-formed request that can
    be answered without a connection."""

    data: bytes
    method: str
    pure: tuple[str, str, int, Mapping[str, str]] | None = None


_CONNECTION_HEADERS = {"Expect", "Transfer-Encoding", "Content-Length"}


def request(
    method: str,
    target: str,
    *,
    minor: int = 1,
    host: str | Sequence[str] | None = "test",
    body: bytes = b"",
    **headers: Any,
) -> Message:
    """Build a request. A sequence is sent as several header lines with one name."""
    given = headers if host is None else {"host": host, **headers}
    lines = [
        (key.replace("_", "-").title(), item)
        for key, value in given.items()
        for item in ([value] if isinstance(value, str) else value)
    ]
    names = {name for name, _ in lines}
    if body and not names & {"Content-Length", "Transfer-Encoding"}:
        lines.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    data = f"{method} {target} HTTP/1.{minor}\r\n{head}\r\n".encode("latin-1") + body
    is_pure = host == "test" and not names & _CONNECTION_HEADERS and re.fullmatch(r"[!-~]+", target)
    joined: dict[str, str] = {}
    for name, value in lines:
        key = name.lower()
        stripped = value.strip(" \t")
        joined[key] = f"{joined[key]}, {stripped}" if key in joined else stripped
    return Message(data, method, (method, target, minor, joined) if is_pure else None)


def get(target: str, **given: Any) -> Message:
    return request("GET", target, **given)


def head(target: str, **given: Any) -> Message:
    return request("HEAD", target, **given)


def post(target: str = "/hello.txt", body: bytes = b"", **given: Any) -> Message:
    return request("POST", target, body=body, **given)


def raw(data: bytes) -> Message:
    """Build a message from raw bytes."""
    return Message(data, data.lstrip().partition(b" ")[0].decode("latin-1"))


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """Return a chunked body."""
    return (
        b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        + b"0\r\n%b\r\n" % trailer
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected response. excused: states of the connection that are accepted instead."""

    statuses: frozenset[int]
    headers: Mapping[str, HeaderCheck] = field(default_factory=dict)
    body: BodyCheck = ...
    version: str | None = None
    interim: frozenset[int] | None = None
    excused: frozenset[After] = frozenset()
    others: tuple["Expected", ...] = ()

    def __or__(self, other: "Expected") -> "Expected":
        return Expected(**self._values() | {"others": (*self.others, other)})

    def or_close(self) -> "Expected":
        """Also accept that the connection is closed without a response."""
        return Expected(**self._values() | {"excused": frozenset({CLOSED})})

    def or_wait(self) -> "Expected":
        """Also accept a close, or that the server waits for the rest of the request."""
        return Expected(**self._values() | {"excused": frozenset({CLOSED, EITHER})})

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def alternatives(self) -> Iterator["Expected"]:
        yield self
        for other in self.others:
            yield from other.alternatives()


def expect(
    *statuses: int,
    body: BodyCheck = ...,
    version: str | None = None,
    interim: Sequence[int] | None = None,
    **headers: HeaderCheck,
) -> Expected:
    """Expect one of the statuses, headers by name, and a body."""
    by_name = {key.replace("_", "-"): check for key, check in headers.items()}
    allowed = None if interim is None else frozenset(interim)
    return Expected(frozenset(statuses), by_name, body, version, allowed)


ANY_RESPONSE = expect(*range(200, 600))
"""Any final response: the row is about something else, such as what follows."""
ANY_ERROR = expect(*range(400, 600))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The expected responses, and the state of the connection after the last."""

    responses: tuple[Expected, ...]
    after: After


@dataclass(frozen=True, slots=True)
class Row:
    """One row. rfc: everything that the clause allows; aserve: what aserve does within that.

    half_closes: the client shuts down its side after sending everything. continue_body: the body
    that the client sends after 100 (Continue). byte_by_byte: how to send, on sockets.
    awaits_timeout: the client then waits for a timeout of the server. all_methods: TRACE is
    enabled, and CONNECT to TUNNEL.
    """

    name: str
    clause: str
    level: Level
    messages: tuple[Message, ...]
    rfc: Outcome
    aserve: Outcome
    half_closes: bool = False
    continue_body: bytes = b""
    byte_by_byte: bool = False
    awaits_timeout: bool = False
    all_methods: bool = False

    @property
    def data(self) -> bytes:
        """All messages as sent."""
        return b"".join(message.data for message in self.messages)

    @property
    def is_pure(self) -> bool:
        """Whether it can be answered without a connection."""
        return (
            len(self.messages) == len(self.aserve.responses) == 1
            and self.messages[0].pure is not None
            and self.aserve.after is not CLOSED
        )


def row(
    name: str,
    clause: str,
    level: Level,
    send: Message | bytes | Sequence[Message | bytes],
    *responses: Expected,
    after: After = OPEN,
    rfc_after: After | None = None,
    aserve: Expected | Sequence[Expected] | None = None,
    half_closes: bool = False,
    continue_body: bytes = b"",
    byte_by_byte: bool = False,
    awaits_timeout: bool = False,
    all_methods: bool = False,
) -> Row:
    """Build a row. RFC 9112 lets a server close a connection after any response, so other servers
    must keep it open only if rfc_after says so; aserve keeps every connection that it can."""
    parts = [send] if isinstance(send, Message | bytes) else send
    messages = tuple(raw(part) if isinstance(part, bytes) else part for part in parts)
    if isinstance(aserve, Expected):
        aserve = [aserve]
    own = responses if aserve is None else tuple(aserve)
    if rfc_after is None:
        rfc_after = EITHER if after is OPEN else after
    if after is OPEN and own and own[-1].statuses == {400}:
        after = CLOSED  # RFC 9112 2.2: so it should be after a message that breaks the grammar
    return Row(
        name=name,
        clause=clause,
        level=level,
        messages=messages,
        rfc=Outcome(responses, rfc_after),
        aserve=Outcome(own, after),
        half_closes=half_closes,
        continue_body=continue_body,
        byte_by_byte=byte_by_byte,
        awaits_timeout=awaits_timeout,
        all_methods=all_methods,
    )
