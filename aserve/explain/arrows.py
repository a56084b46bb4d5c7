"""Where an arrow leads: what is handed over, fetched or woken up at a step."""

from collections.abc import Iterator, Sequence

from aserve.explain.events import Activity, TraceEvent
from aserve.explain.lanes import CACHE, QUEUE, READY, RING, SIGNALS, SOCKETS, Arrow, thread_key


def arrows_of(events: Sequence[TraceEvent], index: dict[str, int]) -> Iterator[Arrow]:
    """Yield what passes between lanes. index: the number of each lane, by its key."""
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
    if event.is_epoll:
        return READY
    return SIGNALS if SIGNALS in index and not event.peer else SOCKETS


def _started_thread(events: Sequence[TraceEvent], step: int) -> str:
    """Return the lane of the thread that has its first event after a step."""
    before = {event.thread for event in events[:step]}
    return next(
        (thread_key(event.thread) for event in events[step:] if event.thread not in before), ""
    )
