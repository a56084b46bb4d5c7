"""Lanes, bars and arrows: who waited, computed or copied at each step of a trace.

A step is one event. Bars are as long as the steps that lie between their ends, and not as the time
that passed: tracing makes every call many times slower, and by no common factor.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import groupby
from typing import NamedTuple

from aserve.explain.capture import RequestTrace
from aserve.explain.events import LISTENER, Activity, TraceEvent, is_client
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
_KERNEL_LANES = (
    Lane(SOCKETS, "kernel", Phrase("socket buffers")),
    Lane(READY, "kernel", Phrase("ready list")),
    Lane(RING, "kernel", Phrase("ring")),
    Lane(SIGNALS, "kernel", Phrase("signal queue")),
    Lane(CACHE, "kernel", Phrase("page cache")),
    Lane(QUEUE, "queue", Phrase("request queue")),
)
_BARS: dict[Activity, Bar] = {
    **dict.fromkeys((Activity.WAIT, Activity.TAKE, Activity.READ_SIGNALS), Bar.WAIT),
    **dict.fromkeys(
        (Activity.READ, Activity.WRITE, Activity.READ_FILE, Activity.SEND_FILE), Bar.COPY
    ),
    **dict.fromkeys(
        (Activity.COMPUTE, Activity.PUT, Activity.SUBMIT, Activity.COMPLETE), Bar.COMPUTE
    ),
    Activity.ASK: Bar.ASK,
}
_PHASES: dict[Activity, Phase] = {
    **dict.fromkeys((Activity.WAIT, Activity.ASK, Activity.READ_SIGNALS), Phase.READY),
    **dict.fromkeys(
        (Activity.READ, Activity.WRITE, Activity.READ_FILE, Activity.SEND_FILE, Activity.COMPLETE),
        Phase.MOVED,
    ),
}
_ARRIVALS = frozenset({Activity.CONNECT, Activity.SEND, Activity.CLOSE, Activity.RESUME})
_FETCHES = frozenset({Activity.RECEIVE, Activity.PAUSE})
_OPERATIONS = ("accept", "receive", "read", "send")


def build_timeline(trace: RequestTrace) -> Timeline:
    """Return the picture of a trace: a function of its events alone."""
    events = trace.events
    held = _held_spans(events)
    threads = [
        *_lanes_of(events, trace.threads, clients=True),
        *(lane for lane in _KERNEL_LANES if any(key == lane.key for key, *_ in held)),
        *_lanes_of(events, trace.threads, clients=False),
    ]
    index = {lane.key: number for number, lane in enumerate(threads)}
    cells = _cells(events, threads, index, held)
    return Timeline(
        tuple(threads),
        events,
        tuple(map(phase_of, events)),
        tuple(_spans(cells, len(events))),
        tuple(_arrows(events, index)),
    )


def phase_of(event: TraceEvent) -> Phase:
    """Return which part of reading or writing an event belongs to."""
    if event.is_begin:
        return Phase.NONE if event.activity is Activity.TAKE else Phase.READY
    if event.activity is Activity.COMPLETE and _operation(event) == "accept":
        return Phase.READY
    return _PHASES.get(event.activity, Phase.NONE)


def thread_key(thread: int) -> str:
    """Return the key of the lane of a thread or client."""
    return f"t{thread}"


def _lanes_of(
    events: Sequence[TraceEvent], names: dict[int, str], *, clients: bool
) -> Iterator[Lane]:
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


# What lies in the kernel or in the queue until it is fetched.

Held = tuple[str, int, int, Bar]  # key of the lane, first and last step, bar


def _held_spans(events: Sequence[TraceEvent]) -> list[Held]:
    return [
        *_received_bytes(events),
        *_sent_bytes(events),
        *_reports(events),
        *_ring_operations(events),
        *_queued_signals(events),
        *_file_reads(events),
        *_queued_jobs(events),
    ]


def _next_step(
    events: Sequence[TraceEvent], start: int, holds: Callable[[TraceEvent], bool]
) -> int | None:
    for step in range(start, len(events)):
        if not events[step].is_begin and holds(events[step]):
            return step
    return None


def _received_bytes(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield what a client sent, from then until the server has taken it."""
    for step, event in enumerate(events):
        wanted = {Activity.CONNECT: "accept", Activity.SEND: "receive", Activity.CLOSE: "receive"}
        if not is_client(event.thread) or event.activity not in wanted:
            continue
        takes = partial(_is_taken, event.peer, wanted[event.activity])
        end = _next_step(events, step + 1, takes)
        yield SOCKETS, step, step if end is None else end, Bar.HELD


def _is_taken(peer: int, operation: str, event: TraceEvent) -> bool:
    if event.activity is Activity.COMPLETE:
        return _operation(event) == operation and event.peer in {peer, LISTENER, 0}
    taking = Activity.ACCEPT if operation == "accept" else Activity.READ
    return event.activity is taking and event.peer == peer


def _sent_bytes(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield what the server wrote, from then until the client has received it."""
    for step, event in enumerate(events):
        is_write = event.activity in {Activity.WRITE, Activity.SEND_FILE} or (
            event.activity is Activity.COMPLETE and _operation(event) == "send"
        )
        if is_write and not event.is_begin:
            end = _next_step(events, step + 1, partial(_is_fetched, event.peer))
            yield SOCKETS, step, step if end is None else end, Bar.HELD


def _is_fetched(peer: int, event: TraceEvent) -> bool:
    return event.activity in _FETCHES and event.peer == peer


def _is_epoll(event: TraceEvent) -> bool:
    return event.call.startswith("epoll")


def _reports(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield what epoll has to report, from its cause until epoll_wait returns it."""
    cause: dict[int, int] = {}  # the last step that could make a descriptor ready, by peer
    for step, event in enumerate(events):
        if is_client(event.thread) and event.activity in _ARRIVALS:
            cause[LISTENER if event.activity is Activity.CONNECT else event.peer] = step
        elif event.activity is Activity.REGISTER and event.peer:
            cause[event.peer] = step
        elif event.activity is Activity.WAIT and _is_epoll(event) and not event.is_begin:
            for peer in ready_peers(event) or [0]:
                yield READY, cause.pop(peer, step), step, Bar.HELD


def ready_peers(event: TraceEvent) -> list[int]:
    """Return the ports of the clients whose connections a wait has reported, or LISTENER."""
    return [int(peer) for peer in event.key.split()]


def _operation(event: TraceEvent) -> str:
    return next((name for name in _OPERATIONS if f" {name}" in event.phrase.template), "")


def _ring_operations(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield each operation on the ring: it waits for data, and then the kernel copies.

    An accept copies nothing: its result lies in the ring until it is fetched.
    """
    if not any(event.activity is Activity.SUBMIT for event in events):
        return  # POSIX AIO also tells of completions, and its threads have lanes of their own
    pending: dict[tuple[str, int], list[int]] = defaultdict(list)
    arrived: dict[int, int] = {}
    for step, event in enumerate(events):
        operation = _operation(event)
        key = operation, event.peer if operation in {"receive", "send"} else 0
        if is_client(event.thread) and event.activity in _ARRIVALS:
            arrived[LISTENER if event.activity is Activity.CONNECT else event.peer] = step
        elif event.activity is Activity.SUBMIT:
            pending[key].append(step)
        elif event.activity is Activity.COMPLETE:
            start = pending[key].pop(0) if pending[key] else 0
            peer = LISTENER if key[0] == "accept" else event.peer
            yield from _one_operation(key[0], start, arrived.get(peer, start), step)
    for (operation, _), steps in pending.items():
        for start in steps:
            bar = Bar.WAIT if operation in {"accept", "receive"} else Bar.COPY
            yield RING, start, len(events) - 1, bar


def _one_operation(operation: str, start: int, arrived: int, end: int) -> Iterator[Held]:
    copies_from = max(start, arrived) if operation in {"accept", "receive"} else start
    if copies_from > start:
        yield RING, start, copies_from - 1, Bar.WAIT
    yield RING, copies_from, end, Bar.HELD if operation == "accept" else Bar.COPY


_SIGNALLERS = frozenset({"sends a signal to the process", "ends"})
"""What makes a signal, besides a socket: a request that is complete, or a child that has ended."""


def _queued_signals(events: Sequence[TraceEvent]) -> Iterator[Held]:
    has_senders = any(event.phrase.template in _SIGNALLERS for event in events)
    since: int | None = None
    for step, event in enumerate(events):
        is_clients = is_client(event.thread) and event.activity in _ARRIVALS | _FETCHES
        if event.phrase.template in _SIGNALLERS if has_senders else is_clients:
            since = step if since is None else since
        elif event.activity is Activity.READ_SIGNALS:
            yield SIGNALS, step if since is None else since, step, Bar.HELD
            since = None


def _file_reads(events: Sequence[TraceEvent]) -> Iterator[Held]:
    for step, event in enumerate(events):
        is_ring_read = event.activity is Activity.COMPLETE and _operation(event) == "read"
        if event.activity in {Activity.READ_FILE, Activity.SEND_FILE} or is_ring_read:
            yield CACHE, step, step, Bar.COPY
        elif event.phrase.template.startswith("would block on the disk"):
            yield CACHE, step, step, Bar.ASK


def _queued_jobs(events: Sequence[TraceEvent]) -> Iterator[Held]:
    waiting: dict[str, list[int]] = defaultdict(list)
    for step, event in enumerate(events):
        if event.activity is Activity.PUT:
            waiting[event.key].append(step)
        elif event.activity is Activity.TAKE and not event.is_begin and waiting[event.key]:
            yield QUEUE, waiting[event.key].pop(0), step, Bar.HELD
    for steps in waiting.values():
        for step in steps:
            yield QUEUE, step, len(events) - 1, Bar.HELD


# The bars.

Cells = dict[tuple[int, int], Bar]  # by lane and step

_STRENGTH = (Bar.HELD, Bar.CALL, Bar.COMPUTE, Bar.WAIT, Bar.ASK, Bar.COPY)
"""Where two things are in one place at a step, the later one of these is shown."""


def _cells(
    events: Sequence[TraceEvent], lanes: Sequence[Lane], index: dict[str, int], held: Iterable[Held]
) -> Cells:
    cells: Cells = {}
    for key, first, last, bar in held:
        for step in range(first, last + 1):
            old = cells.get((index[key], step), bar)
            cells[index[key], step] = max(old, bar, key=_STRENGTH.index)
    for number, lane in enumerate(lanes):
        if lane.thread:
            own = [step for step, event in enumerate(events) if event.thread == lane.thread]
            bars = _client_bars if lane.kind == "client" else _thread_bars
            cells.update({(number, step): bar for step, bar in bars(events, own)})
    return cells


def _thread_bars(events: Sequence[TraceEvent], own: Sequence[int]) -> Iterator[tuple[int, Bar]]:
    """Yield what a thread does at each step from its first to its last event."""
    for step, following in zip(own, [*own[1:], len(events)], strict=True):
        event = events[step]
        bar = Bar.WAIT if event.is_begin else _BARS.get(event.activity, Bar.CALL)
        yield step, bar
        between = Bar.WAIT if event.is_begin else Bar.COMPUTE
        if following < len(events) or event.is_begin:
            yield from ((other, between) for other in range(step + 1, following))


def _client_bars(events: Sequence[TraceEvent], own: Sequence[int]) -> Iterator[tuple[int, Bar]]:
    for step, following in zip(own, [*own[1:], len(events)], strict=True):
        activity = events[step].activity
        yield step, Bar.COPY if activity in _FETCHES | {Activity.SEND} else Bar.CALL
        if activity in {Activity.SEND, Activity.RESUME} and following < len(events):
            yield from ((other, Bar.WAIT) for other in range(step + 1, following))


def _spans(cells: Cells, steps: int) -> Iterator[Span]:
    for lane in sorted({lane for lane, _ in cells}):
        column = [cells.get((lane, step)) for step in range(steps)]
        step = 0
        for bar, group in groupby(column):
            length = len(list(group))
            if bar:
                yield Span(lane, step, step + length - 1, bar)
            step += length


# The arrows.


def _arrows(events: Sequence[TraceEvent], index: dict[str, int]) -> Iterator[Arrow]:
    for step, event in enumerate(events):
        start, end = _ends(event, events, step, index)
        if start in index and end in index and start != end:
            yield Arrow(step, index[start], index[end])


def _ends(
    event: TraceEvent, events: Sequence[TraceEvent], step: int, index: dict[str, int]
) -> tuple[str, str]:
    """Return the keys of the lanes that an event leads from and to, "" for none."""
    here = thread_key(event.thread)
    if event.is_begin:
        return "", ""
    if event.activity is Activity.WAIT:
        return _waker(event, events, step, index), here
    if event.activity is Activity.START_THREAD:
        return here, _started_thread(events, step)
    if event.activity is Activity.SEND_FILE:
        return CACHE, SOCKETS
    to_lane = _FROM_THREAD.get(event.activity, "")
    return (here, to_lane) if to_lane else (_TO_THREAD.get(event.activity, ""), here)


_TO_THREAD = {
    Activity.ACCEPT: SOCKETS,
    Activity.READ: SOCKETS,
    Activity.RECEIVE: SOCKETS,
    Activity.PAUSE: SOCKETS,
    Activity.READ_FILE: CACHE,
    Activity.READ_SIGNALS: SIGNALS,
    Activity.COMPLETE: RING,
    Activity.TAKE: QUEUE,
}
_FROM_THREAD = {
    Activity.CONNECT: SOCKETS,
    Activity.SEND: SOCKETS,
    Activity.CLOSE: SOCKETS,
    Activity.WRITE: SOCKETS,
    Activity.REGISTER: READY,
    Activity.SUBMIT: RING,
    Activity.PUT: QUEUE,
}


def _waker(
    event: TraceEvent, events: Sequence[TraceEvent], step: int, index: dict[str, int]
) -> str:
    """Return what ended a wait: another thread, the ring, the signals, or a socket."""
    if not event.peer:
        before = (other for other in reversed(events[:step]) if other.thread != event.thread)
        last = next(before, None)
        if last and last.activity is Activity.WAKE:
            return thread_key(last.thread)
    if event.call.startswith("io_uring"):
        return RING
    if _is_epoll(event):
        return READY
    return SIGNALS if SIGNALS in index and not event.peer else SOCKETS


def _started_thread(events: Sequence[TraceEvent], step: int) -> str:
    """Return the lane of the thread that has its first event after a step."""
    before = {event.thread for event in events[:step]}
    return next(
        (thread_key(event.thread) for event in events[step:] if event.thread not in before), ""
    )
