"""Lanes, bars and arrows: who waited, computed or copied at each step of a trace.

A step is one event. Bars are as long as the steps that lie between their ends, and not as the time
that passed: tracing makes every call many times slower, and by no common factor.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby

from aserve.explain.arrows import arrows_of
from aserve.explain.capture import RequestTrace
from aserve.explain.events import Activity, TraceEvent
from aserve.explain.held import Held, held_spans, uses_ring
from aserve.explain.lanes import KERNEL_LANES, Bar, Lane, Phase, Span, Timeline, lanes_of

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
        (Activity.READ, Activity.WRITE, Activity.READ_FILE, Activity.SEND_FILE), Phase.MOVED
    ),
}
_FETCHES = frozenset({Activity.RECEIVE, Activity.PAUSE})


def build_timeline(trace: RequestTrace) -> Timeline:
    """Return the picture of a trace: a function of its events alone."""
    events = trace.events
    held = held_spans(events)
    threads = [
        *lanes_of(events, trace.threads, clients=True),
        *(lane for lane in KERNEL_LANES if any(key == lane.key for key, *_ in held)),
        *lanes_of(events, trace.threads, clients=False),
    ]
    index = {lane.key: number for number, lane in enumerate(threads)}
    cells = _cells(trace, threads, index, held)
    return Timeline(
        tuple(threads),
        events,
        tuple(phase_of(event, has_ring=uses_ring(events)) for event in events),
        tuple(_spans(cells, len(events))),
        tuple(arrows_of(events, index)),
    )


def phase_of(event: TraceEvent, *, has_ring: bool) -> Phase:
    """Return which part of reading or writing an event belongs to.

    has_ring: a completion tells what the kernel has moved, and not what a thread of the C library
    has, whose calls are events of their own.
    """
    if event.is_begin:
        return Phase.NONE if event.activity is Activity.TAKE else Phase.READY
    if event.activity is Activity.COMPLETE:
        is_move = event.ring_operation != "accept"
        return (Phase.MOVED if is_move else Phase.READY) if has_ring else Phase.NONE
    return _PHASES.get(event.activity, Phase.NONE)


Cells = dict[tuple[int, int], Bar]  # by lane and step

_STRENGTH = (Bar.HELD, Bar.CALL, Bar.COMPUTE, Bar.WAIT, Bar.ASK, Bar.COPY)
"""Where two things are in one place at a step, the later one of these is shown."""


def _cells(
    trace: RequestTrace, lanes: Sequence[Lane], index: dict[str, int], held: Iterable[Held]
) -> Cells:
    events = trace.events
    cells: Cells = {}
    for key, first, last, bar in held:
        for step in range(first, last + 1):
            old = cells.get((index[key], step), bar)
            cells[index[key], step] = max(old, bar, key=_STRENGTH.index)
    for number, lane in enumerate(lanes):
        if lane.thread:
            own = [step for step, event in enumerate(events) if event.thread == lane.thread]
            has_code = lane.thread in trace.threads
            bars = _client_bars if lane.kind == "client" else partial(_thread_bars, has_code)
            cells.update({(number, step): bar for step, bar in bars(events, own)})
    return cells


def _thread_bars(
    has_code: bool, events: Sequence[TraceEvent], own: Sequence[int]
) -> Iterator[tuple[int, Bar]]:
    """Yield what a thread does at each step from its first to its last event.

    has_code: it runs Python, and computes between two events. A thread of the C library does
    nothing that is worth telling: it waits for its next request.
    """
    for step, following in zip(own, [*own[1:], len(events)], strict=True):
        event = events[step]
        bar = Bar.WAIT if event.is_begin else _BARS.get(event.activity, Bar.CALL)
        yield step, bar
        between = Bar.WAIT if event.is_begin else Bar.COMPUTE
        if event.is_begin or (has_code and following < len(events)):
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
