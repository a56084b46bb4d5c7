"""Make the waiting visible: an event of its own where a thread began to wait."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from aserve.explain.events import Activity, TraceEvent, is_client
from aserve.explain.phrase import Phrase

_WAITING: dict[Activity, str] = {
    Activity.WAIT: "waits in {call}",
    Activity.TAKE: "waits for a job",
    Activity.ACCEPT: "waits in {call} until a client connects",
    Activity.READ: "waits in {call} until data arrives",
    Activity.WRITE: "waits in {call} for space in the socket",
    Activity.SEND_FILE: "waits in {call} for space in the socket",
}
_SOCKET_CALLS = frozenset({Activity.ACCEPT, Activity.READ, Activity.WRITE, Activity.SEND_FILE})
_CODE = frozenset({Activity.COMPUTE, Activity.PUT, Activity.TAKE})
_PAIRED = frozenset(
    {Activity.PUT, Activity.TAKE, Activity.SUBMIT, Activity.COMPLETE, Activity.START_THREAD}
)
_MAX_PERIOD = 6  # events of one round
_NEVER = float("inf")


def tell_waiting(
    events: Sequence[TraceEvent], rests: Sequence[float], end: float
) -> list[TraceEvent]:
    """Return the events in order, with one more where a wait began while others went on.

    A call that returned at once is no wait. A call on a socket has waited only if the server was
    seen to rest during it: it may also take long because the machine is busy. What has not ended
    at `end` only begins.
    """
    start = min((event.at for event in events if is_client(event.thread)), default=0.0)
    joined = list(_join_timeouts(events))
    return sorted(_tell(joined, rests, start, end), key=_order)


def _join_timeouts(events: Sequence[TraceEvent]) -> Iterator[TraceEvent]:
    """Yield the events without waits that ended for nothing: the next wait goes on with theirs."""
    since: dict[int, float] = {}
    for event in sorted(events, key=lambda event: event.started_at):
        if (
            event.activity is Activity.WAIT
            and not event.phrase.template
            and event.ended_at < _NEVER
        ):
            since.setdefault(event.thread, event.started_at)
            continue
        started_at = since.pop(event.thread, event.started_at)
        yield replace(event, started_at=started_at) if event.activity is Activity.WAIT else event


def _order(event: TraceEvent) -> tuple[float, bool]:
    return event.at, not event.is_begin


def _tell(
    events: Sequence[TraceEvent], rests: Sequence[float], start: float, end: float
) -> Iterator[TraceEvent]:
    for event in events:
        if event.activity in _WAITING and not is_client(event.thread):
            others = rests if event.activity in _SOCKET_CALLS else [one.at for one in events]
            yield from _tell_one(event, others, start, end)
        elif event.at <= end:
            yield event


def _tell_one(
    event: TraceEvent, others: Iterable[float], start: float, end: float
) -> Iterator[TraceEvent]:
    """Yield what can wait. others: the times of what shows that it has, if it lasted that long."""
    if event.started_at < start and event.ended_at > end:
        return  # it has nothing to do with what happened
    if any(event.started_at < at < event.ended_at for at in others):
        yield _begin(event, start)
        event = replace(event, at=event.ended_at)
    if event.at <= end:
        yield event


def _begin(event: TraceEvent, start: float) -> TraceEvent:
    name = event.call.partition("(")[0]
    phrase = Phrase(_WAITING[event.activity], {"call": name})
    call = f"{name}(...)" if name else ""
    at = max(event.started_at, start)
    peer = 0 if event.activity in {Activity.WAIT, Activity.ACCEPT} else event.peer
    return replace(event, at=at, phrase=phrase, call=call, peer=peer, is_begin=True)


def merge_repeats(events: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """Merge what one thread does again and again, such as asking every socket, into one round."""
    for thread, group in groupby(events, key=lambda event: event.thread):
        own = list(group)
        yield from own if is_client(thread) else _merge_rounds(own)


def _merge_rounds(events: list[TraceEvent]) -> Iterator[TraceEvent]:
    keys = [_repeat_key(event, step) for step, event in enumerate(events)]
    start = 0
    while start < len(events):
        period, times = _best_round(events, keys, start)
        for event in events[start : start + period]:
            yield replace(event, times=times)
        start += period * times


def _repeat_key(event: TraceEvent, step: int) -> tuple[object, ...]:
    """Return what repeats have in common; what is paired with another event has no repeats."""
    return event.text, event.is_begin, event.peer, step if event.activity in _PAIRED else -1


def _best_round(
    events: Sequence[TraceEvent], keys: Sequence[object], start: int
) -> tuple[int, int]:
    """Return how many events are repeated from `start` on, and how many times they come.

    What the server computes for a request is not merged with the same for the next one.
    """
    best = (1, 1)
    for period in range(1, _MAX_PERIOD + 1):
        if period > 1 and events[min(start + period, len(events)) - 1].activity in _CODE:
            break
        times = 1
        first = keys[start : start + period]
        while first == keys[start + period * times : start + period * (times + 1)]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = period, times
    return best
