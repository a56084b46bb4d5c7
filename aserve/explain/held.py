"""What lies in the kernel or in the request queue until it is fetched."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from aserve.explain.events import LISTENER, Activity, TraceEvent, is_client, ready_peers
from aserve.explain.lanes import CACHE, QUEUE, READY, RING, SIGNALS, SOCKETS, Bar

_ARRIVALS = frozenset({Activity.CONNECT, Activity.SEND, Activity.CLOSE, Activity.RESUME})
_FETCHES = frozenset({Activity.RECEIVE, Activity.PAUSE})
Held = tuple[str, int, int, Bar]  # key of the lane, first and last step, bar


def held_spans(events: Sequence[TraceEvent]) -> list[Held]:
    """Return where something lies, and from which step to which one."""
    return [
        *_received_bytes(events),
        *_sent_bytes(events),
        *_reports(events),
        *_ring_operations(events),
        *_queued_signals(events),
        *_file_reads(events),
        *_queued_jobs(events),
    ]


def uses_ring(events: Sequence[TraceEvent]) -> bool:
    """Tell whether completions come from a ring: those of POSIX AIO, from threads with lanes."""
    return any(event.activity is Activity.SUBMIT for event in events)


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
        return event.ring_operation == operation and event.peer in {peer, LISTENER, 0}
    taking = Activity.ACCEPT if operation == "accept" else Activity.READ
    return event.activity is taking and event.peer == peer


def _sent_bytes(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield what the server wrote, from then until the client has received it."""
    for step, event in enumerate(events):
        is_write = event.activity in {Activity.WRITE, Activity.SEND_FILE} or (
            event.activity is Activity.COMPLETE and event.ring_operation == "send"
        )
        if is_write and not event.is_begin:
            end = _next_step(events, step + 1, partial(_is_fetched, event.peer))
            yield SOCKETS, step, step if end is None else end, Bar.HELD


def _is_fetched(peer: int, event: TraceEvent) -> bool:
    return event.activity in _FETCHES and event.peer == peer


def _reports(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield what epoll has to report, from its cause until epoll_wait returns it."""
    cause: dict[int, int] = {}  # the last step that could make a descriptor ready, by peer
    for step, event in enumerate(events):
        if is_client(event.thread) and event.activity in _ARRIVALS:
            cause[LISTENER if event.activity is Activity.CONNECT else event.peer] = step
        elif event.activity is Activity.REGISTER and event.peer:
            cause[event.peer] = step
        elif event.activity is Activity.WAIT and event.is_epoll and not event.is_begin:
            for peer in ready_peers(event) or [0]:
                yield READY, cause.pop(peer, step), step, Bar.HELD


def _ring_operations(events: Sequence[TraceEvent]) -> Iterator[Held]:
    """Yield each operation on the ring: it waits for data, and then the kernel copies.

    An accept copies nothing: its result lies in the ring until it is fetched.
    """
    if not uses_ring(events):
        return
    pending: dict[tuple[str, int], list[int]] = defaultdict(list)
    arrived: dict[int, int] = {}
    for step, event in enumerate(events):
        operation = event.ring_operation
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
    has_ring = uses_ring(events)
    for step, event in enumerate(events):
        is_completed = event.activity is Activity.COMPLETE and event.ring_operation == "read"
        is_ring_read = has_ring and is_completed
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
