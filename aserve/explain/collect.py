"""Put the events of the clients, the marks of the server, and strace's lines into one order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from aserve.explain.events import (
    LISTENER,
    Activity,
    Mark,
    Syscall,
    TraceEvent,
    read_marks,
    read_syscalls,
)
from aserve.explain.phrase import Phrase
from aserve.explain.source_lines import SourceLines
from aserve.explain.syscall_arguments import (
    WAITS,
    accepting_descriptor,
    named_descriptors,
    peer_of,
)
from aserve.explain.syscall_text import (
    TIMED_AT_RETURN,
    Description,
    describe_epoll_batch,
    describe_syscall,
)

_STRACE_SKEW_S = 0.02  # a strace that did not get to run dates the end of a call too early
_A_MOMENT_S = 1e-6
_CAUSES = {
    Activity.CONNECT: (Activity.WAIT, Activity.ACCEPT),
    Activity.SEND: (Activity.WAIT, Activity.READ),
    Activity.CLOSE: (Activity.WAIT, Activity.READ),
}


class Collected(NamedTuple):
    """Events in order of time, names of threads, and when the server rested."""

    events: list[TraceEvent]
    threads: dict[int, str]
    rests: Sequence[float]


def collect(
    temporary: Path,
    clients: Sequence[TraceEvent],
    rests: Sequence[float],
    end: float,
    *,
    is_libuv: bool,
) -> Collected:
    """Return what clients and server did from the first event of a client until `end`.

    temporary: the directory with the files of the server and of strace. rests: when the server
    rested. is_libuv: its event loop has a ring of its own. Waits that have not ended until then are
    among the events.
    """
    start = clients[0].at
    with (temporary / "marks").open() as lines:
        marks = list(read_marks(lines))
    calls: list[Syscall] = []
    if (temporary / "calls").exists():
        with (temporary / "calls").open(errors="replace") as lines:
            calls = [call for call in read_syscalls(lines) if not _is_housekeeping(call)]
    calls = [call for call in calls if _overlaps(call, start, end)]
    fds = _clients_by_descriptor(calls, {event.peer for event in clients})
    sources = SourceLines(marks)
    server = [*_events_of_marks(marks, start, end, fds)]
    server += _events_of_calls(calls, sources, fds, is_libuv=is_libuv)
    server = [_after_its_cause(event, clients) for event in server]
    events = sorted([*clients, *server], key=lambda event: event.at)
    return Collected(
        [event for event in events if event.started_at <= end and event.at >= start],
        {mark.thread: mark.text for mark in marks if mark.kind == "thread"},
        rests,
    )


def _after_its_cause(event: TraceEvent, clients: Sequence[TraceEvent]) -> TraceEvent:
    """Return an event that was dated too early after what the client had done to cause it.

    The server was quiet before: what it is told of this connection just before can only be that.
    """
    if event.activity not in {Activity.WAIT, Activity.ACCEPT, Activity.READ} or not event.peer:
        return event
    for client in clients:
        causes = _CAUSES.get(client.activity, ())
        is_first = client is clients[0]
        is_about_it = event.peer == client.peer or (event.peer == LISTENER and is_first)
        is_too_early = client.at - _STRACE_SKEW_S < event.at <= client.at
        if event.activity in causes and is_about_it and is_too_early:
            return replace(event, at=client.at + _A_MOMENT_S, ended_at=client.at + _A_MOMENT_S)
    return event


def _overlaps(call: Syscall, start: float, end: float) -> bool:
    return call.at >= start - _STRACE_SKEW_S and call.started_at <= end


def _is_housekeeping(call: Syscall) -> bool:
    """Tell whether a call is for no request, such as the check for new mounts every second.

    linkat is: it names a new file by what /proc has for its descriptor.
    """
    return call.name != "linkat" and any(
        word in call.arguments for word in ("/proc/", "anon_inode:inotify", "/marks>")
    )


def _clients_by_descriptor(calls: Iterable[Syscall], ports: set[int]) -> dict[int, int]:
    """Return whose connection a descriptor is, which no other one is in that time."""
    found: dict[int, int] = {}
    for call in calls:
        peer = peer_of(call)
        if call.name not in WAITS and (peer in ports or peer == LISTENER):
            found.update(dict.fromkeys(named_descriptors(call), peer))
        if listener := accepting_descriptor(call):
            found[listener] = LISTENER
    return found


def _events_of_marks(
    marks: Iterable[Mark], start: float, end: float, fds: dict[int, int]
) -> Iterator[TraceEvent]:
    waiting: dict[int, Mark] = {}  # threads that take from a queue
    for mark in marks:
        if mark.kind in {"thread", "line"} or mark.at > end:
            continue
        activity = Activity[mark.kind]
        if activity is Activity.WAIT:
            waiting[mark.thread] = mark
            continue
        begin = waiting.pop(mark.thread, mark) if activity is Activity.TAKE else mark
        if mark.at >= start:
            yield _event_of_mark(mark, begin.at, mark.at, fds)
    for mark in waiting.values():
        if mark.at >= start:
            taken = mark._replace(kind=Activity.TAKE.name)
            yield _event_of_mark(taken, mark.at, float("inf"), fds)


def _event_of_mark(mark: Mark, started_at: float, at: float, fds: dict[int, int]) -> TraceEvent:
    activity = Activity[mark.kind]
    is_ring = activity in {Activity.SUBMIT, Activity.COMPLETE}
    peer = fds.get(int(mark.key), 0) if is_ring and mark.key else 0
    return TraceEvent(
        at,
        mark.thread,
        Phrase(mark.text, mark.values),
        activity,
        started_at=started_at,
        ended_at=at,
        source=mark.source,
        peer=peer,
        key=mark.key,
    )


def _events_of_calls(
    calls: Iterable[Syscall],
    sources: SourceLines,
    fds: dict[int, int],
    *,
    is_libuv: bool,
) -> Iterator[TraceEvent]:
    for call in sorted(calls, key=lambda call: call.started_at):
        source = sources.find(call.thread, call.name, call.started_at)
        if described := _describe(call, is_libuv=is_libuv):
            yield _event_of_call(call, described, source, fds)


def _describe(call: Syscall, *, is_libuv: bool) -> Description | None:
    if is_libuv and call.name == "io_uring_enter":
        return describe_epoll_batch(call)
    described = describe_syscall(call)
    if call.name in WAITS and not described:  # for nothing, or not ended yet
        return Description(Phrase(""), Activity.WAIT)
    return described


def _event_of_call(
    call: Syscall, described: Description, source: str, fds: dict[int, int]
) -> TraceEvent:
    peer, key = peer_of(call), described.key
    if call.name in WAITS:
        ready = [fds[fd] for fd in named_descriptors(call) if fd in fds]
        peer, key = next(iter(ready), 0), " ".join(map(str, ready))
    return TraceEvent(
        call.at if call.name in TIMED_AT_RETURN else call.started_at,
        call.thread,
        described.phrase,
        described.activity,
        started_at=call.started_at,
        ended_at=call.at,
        call=f"{call.name}({call.arguments}) = {call.result}",
        source=source,
        peer=peer,
        key=key,
    )
