"""The parts of a picture: lanes, and the bars and arrows between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from aserve.explain.events import TraceEvent, is_client
from aserve.explain.phrase import Phrase


class Bar(Enum):
    """What is shown of a lane at a step. The value is its class in the page."""

    WAIT = "w"
    ASK = "q"
    COMPUTE = "c"
    COPY = "m"
    CALL = "k"
    HELD = "h"
    """Something waits here to be fetched: bytes, a signal, a report, a job."""


class Phase(Enum):
    """The two parts of reading from a socket or a file."""

    NONE = 0
    READY = 1
    """Until the data is there."""
    MOVED = 2
    """Until it is where the program wants it."""


class Lane(NamedTuple):
    """A column. kind: client, kernel, queue or thread. thread: its id, 0 for none."""

    key: str
    kind: str
    name: Phrase
    thread: int = 0


class Span(NamedTuple):
    """A bar in a lane, from step `first` to step `last`."""

    lane: int
    first: int
    last: int
    bar: Bar


class Arrow(NamedTuple):
    """What passes from one lane to another at a step."""

    step: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """A trace as a picture. phases: that of each step; spans never overlap."""

    lanes: tuple[Lane, ...]
    events: tuple[TraceEvent, ...]
    phases: tuple[Phase, ...]
    spans: tuple[Span, ...]
    arrows: tuple[Arrow, ...]


SOCKETS, READY, RING, SIGNALS, CACHE, QUEUE = (
    "sockets",
    "ready",
    "ring",
    "signals",
    "cache",
    "queue",
)
KERNEL_LANES = (
    Lane(SOCKETS, "kernel", Phrase("socket buffers")),
    Lane(READY, "kernel", Phrase("ready list")),
    Lane(RING, "kernel", Phrase("ring")),
    Lane(SIGNALS, "kernel", Phrase("signal queue")),
    Lane(CACHE, "kernel", Phrase("page cache")),
    Lane(QUEUE, "queue", Phrase("request queue")),
)


def thread_key(thread: int) -> str:
    """Return the key of the lane of a thread or client."""
    return f"t{thread}"


def lanes_of(
    events: Sequence[TraceEvent], names: dict[int, str], *, clients: bool
) -> Iterator[Lane]:
    """Yield a lane for each client, or for each thread: the main thread is the first."""
    found = dict.fromkeys(event.thread for event in events if is_client(event.thread) == clients)
    is_last = {thread: names.get(thread) != "MainThread" for thread in found}
    order = sorted(found, reverse=True) if clients else sorted(found, key=lambda one: is_last[one])
    kind = "client" if clients else "thread"
    named = [lane_name(thread, names, len(found)) for thread in order]
    for thread, name in zip(order, _tell_apart(named), strict=True):
        yield Lane(thread_key(thread), kind, name, thread)


_NUMBERED = {
    "child process": "child process {number}",
    "a thread of libc": "libc thread {number}",
}


def _tell_apart(names: Sequence[Phrase]) -> Iterator[Phrase]:
    """Yield the names, with a number where several lanes have the same."""
    for place, name in enumerate(names):
        template = _NUMBERED.get(name.template)
        if template and names.count(name) > 1:
            number = names[: place + 1].count(name)
            yield Phrase(template, {"number": number})
        else:
            yield name


def lane_name(thread: int, names: dict[int, str], count: int = 1) -> Phrase:
    """Return the name of a thread or client. count: of how many clients it is one."""
    if is_client(thread):
        return Phrase("client {number}", {"number": -thread}) if count > 1 else Phrase("client")
    name = names.get(thread, "")
    if not name:
        return Phrase("a thread of libc")
    if fixed := {"MainThread": "main thread", "ChildProcess": "child process"}.get(name):
        return Phrase(fixed)
    first, _, rest = name.partition(" (")
    number = first.removeprefix("Thread-")
    if rest and number.isdigit():
        return Phrase("thread {number}", {"number": number})
    return Phrase("{name}", {"name": name})
