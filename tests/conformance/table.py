"""What a row of the table is, and the words that rows are written in."""

import enum
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

from tests.conformance.reader import Reply


class Level(enum.StrEnum):
    """How much the clause asks for; OURS is a choice of this project that a clause leaves open."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    OURS = "ours"


class After(enum.StrEnum):
    """What becomes of the connection when the last expected reply has been read."""

    OPEN = "open"
    CLOSED = "closed"
    EITHER = "either"


MUST, SHOULD, MAY, OURS = Level.MUST, Level.SHOULD, Level.MAY, Level.OURS
OPEN, CLOSED, EITHER = After.OPEN, After.CLOSED, After.EITHER

FieldCheck = str | re.Pattern[str] | Callable[[str], bool] | None
"""An exact value, a pattern, a predicate, or None: the field must not be there."""
BodyCheck = bytes | Callable[[Reply], bool] | EllipsisType
"""Exact octets, a predicate over the reply, or ...: any."""

TUNNEL = "127.0.0.1:1"

PRESENT = re.compile(r".*")

_TAG = re.compile(rb"<<etag (?P<target>\S+) (?P<coding>\S+)>>")

TagOf = Callable[[str, str], str]
"""(target, content coding) -> the entity tag that the server under test gives it."""


class NoStrongTag(Exception):
    """The row compares a strong entity tag and the server gives none."""


def tag(target: str, coding: str = "identity") -> str:
    """Return what stands in a row for the entity tag that the server gives to a target."""
    return f"<<etag {target} {coding}>>"


def fill(octets: bytes, tag_of: TagOf) -> bytes:
    """Put the server's own entity tags where a row speaks of them."""

    def one(found: re.Match[bytes]) -> bytes:
        return tag_of(found["target"].decode(), found["coding"].decode()).encode("latin-1")

    return _TAG.sub(one, octets)


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it is sent. pure: (method, target, minor, fields) where it is well formed
    and decided by semantics alone, so that no connection is needed to answer it."""

    octets: bytes
    method: str
    pure: tuple[str, str, int, Mapping[str, str]] | None = None


_WIRE_FIELDS = {"Expect", "Transfer-Encoding", "Content-Length"}


def request(
    method: str,
    target: str,
    *,
    minor: int = 1,
    host: str | Sequence[str] | None = "test",
    body: bytes = b"",
    **fields: Any,
) -> Message:
    """Write a request. A field given as a sequence is sent as so many lines of one name."""
    given = fields if host is None else {"host": host, **fields}
    lines = [
        (key.replace("_", "-").title(), one)
        for key, value in given.items()
        for one in ([value] if isinstance(value, str) else value)
    ]
    names = {name for name, _ in lines}
    if body and not names & {"Content-Length", "Transfer-Encoding"}:
        lines.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    octets = f"{method} {target} HTTP/1.{minor}\r\n{head}\r\n".encode("latin-1") + body
    is_pure = host == "test" and not names & _WIRE_FIELDS and re.fullmatch(r"[!-~]+", target)
    joined: dict[str, str] = {}
    for name, value in lines:
        key = name.lower()
        bare = value.strip(" \t")
        joined[key] = f"{joined[key]}, {bare}" if key in joined else bare
    return Message(octets, method, (method, target, minor, joined) if is_pure else None)


def get(target: str, **given: Any) -> Message:
    return request("GET", target, **given)


def head(target: str, **given: Any) -> Message:
    return request("HEAD", target, **given)


def post(target: str = "/hello.txt", body: bytes = b"", **given: Any) -> Message:
    return request("POST", target, body=body, **given)


def raw(octets: bytes) -> Message:
    """Send octets as they are."""
    return Message(octets, octets.lstrip().partition(b" ")[0].decode("latin-1"))


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    """Frame content in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n%b\r\n" % trailer


@dataclass(frozen=True, slots=True)
class Expected:
    """One reply as it must be. excused: what the connection may be instead of the reply."""

    statuses: frozenset[int]
    fields: Mapping[str, FieldCheck] = field(default_factory=dict)
    body: BodyCheck = ...
    version: str | None = None
    interim: frozenset[int] | None = None
    excused: frozenset[After] = frozenset()
    others: tuple["Expected", ...] = ()

    def __or__(self, other: "Expected") -> "Expected":
        return Expected(**self._values() | {"others": (*self.others, other)})

    def or_close(self) -> "Expected":
        """Return the same, forgiven where the connection has been closed instead."""
        return Expected(**self._values() | {"excused": frozenset({CLOSED})})

    def or_wait(self) -> "Expected":
        """Return the same, forgiven as well where the server waits for what was announced."""
        return Expected(**self._values() | {"excused": frozenset({CLOSED, EITHER})})

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def alternatives(self) -> Iterator["Expected"]:
        yield self
        for other in self.others:
            yield from other.alternatives()


def reply(
    *statuses: int,
    body: BodyCheck = ...,
    version: str | None = None,
    interim: Sequence[int] | None = None,
    **fields: FieldCheck,
) -> Expected:
    """Write an expectation: any of the statuses, fields by name, body."""
    names = {key.replace("_", "-"): check for key, check in fields.items()}
    allowed = None if interim is None else frozenset(interim)
    return Expected(frozenset(statuses), names, body, version, allowed)


ANSWER = reply(*range(200, 600))
"""Any final reply: the row is about what comes after it, or beside it."""
ERROR = reply(*range(400, 600))


@dataclass(frozen=True, slots=True)
class Outcome:
    replies: tuple[Expected, ...]
    after: After


@dataclass(frozen=True, slots=True)
class Row:
    """One row. rfc: all that the clause allows; ours: what aserve does within that.

    ended: the client shuts its side when it has sent everything. held: content that the client
    sends once it was told to continue. slowly: octet by octet, on sockets. waits: the client then
    waits for the server to lose patience. switched: TRACE is on, and CONNECT to TUNNEL.
    """

    name: str
    clause: str
    level: Level
    messages: tuple[Message, ...]
    rfc: Outcome
    ours: Outcome
    ended: bool = False
    held: bytes = b""
    slowly: bool = False
    waits: bool = False
    switched: bool = False

    @property
    def octets(self) -> bytes:
        return b"".join(message.octets for message in self.messages)

    @property
    def is_pure(self) -> bool:
        """Whether the answer can be had without a connection."""
        return (
            len(self.messages) == len(self.ours.replies) == 1
            and self.messages[0].pure is not None
            and self.ours.after is not CLOSED
        )


def row(
    name: str,
    clause: str,
    level: Level,
    send: Message | bytes | Sequence[Message | bytes],
    *replies: Expected,
    after: After = OPEN,
    rfc_after: After | None = None,
    ours: Expected | Sequence[Expected] | None = None,
    ended: bool = False,
    held: bytes = b"",
    slowly: bool = False,
    waits: bool = False,
    switched: bool = False,
) -> Row:
    """Write a row. RFC 9112 lets a server close a connection after any reply, so that of others
    `open` is asked only where rfc_after says so; we keep what we can keep."""
    parts = [send] if isinstance(send, Message | bytes) else send
    messages = tuple(raw(part) if isinstance(part, bytes) else part for part in parts)
    own = replies if ours is None else (ours,) if isinstance(ours, Expected) else tuple(ours)
    if rfc_after is None:
        rfc_after = EITHER if after is OPEN else after
    if after is OPEN and own and own[-1].statuses == {400}:
        after = CLOSED  # RFC 9112 2.2: so it should be behind what does not match the grammar
    return Row(
        name=name,
        clause=clause,
        level=level,
        messages=messages,
        rfc=Outcome(replies, rfc_after),
        ours=Outcome(own, after),
        ended=ended,
        held=held,
        slowly=slowly,
        waits=waits,
        switched=switched,
    )
