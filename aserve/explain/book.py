"""Which of a book's numbered steps each event of a trace belongs to."""

from collections.abc import Callable, Mapping
from functools import partial

from aserve.explain.capture import RequestTrace
from aserve.explain.conversations import MOVES, Conversations, LibraryOperations, is_ring
from aserve.explain.events import LISTENER, Activity, TraceEvent, is_client
from aserve.explain.workflows import WORKFLOWS
from aserve.transport.registry import BY_THE_BOOK

_WORK = frozenset({Activity.COMPUTE, Activity.CALL, Activity.READ_FILE})
_SENDS = frozenset({Activity.WRITE, Activity.SEND_FILE})
Numbering = Callable[[Conversations, TraceEvent], int]


def book_steps(trace: RequestTrace) -> list[int]:
    """Return the number of the step that each event belongs to, 0 for none."""
    if not (make_numbering := _NUMBERINGS.get(trace.model)):
        return [0] * len(trace.events)
    conversations, numbering = Conversations(trace), make_numbering()
    return [_number(conversations, event, numbering) for event in trace.events]


def takes_every_step(trace: RequestTrace) -> bool:
    """Tell whether the server is one that is meant to take each step that books number."""
    has_tuned_form = trace.model in {*BY_THE_BOOK, "asyncio"}
    return trace.model in WORKFLOWS and (trace.by_the_book or not has_tuned_form)


def _number(conversations: Conversations, event: TraceEvent, numbering: Numbering) -> int:
    if is_client(event.thread):
        return 0
    conversations.before(event)
    number = numbering(conversations, event)
    conversations.after(event)
    return number


def _wait_number(known: Conversations, event: TraceEvent) -> int:
    """Return the number of a wait, or of its end: 1 for clients, 2 and 3 for data, 5 and 6."""
    if event.is_begin:
        return _begin_number(known, event)
    if event.peer == LISTENER:
        return 1
    if event.peer <= 0:
        return 0
    return 6 if event.peer in known.polled_for_writing else 3


def _begin_number(known: Conversations, event: TraceEvent) -> int:
    """Return the number of the beginning of a wait: what ends it decides what was waited for."""
    end = known.end_of_wait(event)
    if "EPOLLOUT" in end.text if end else known.polled_for_writing - known.reported:
        return 5
    is_for_clients = end.peer == LISTENER if end and end.peer else not known.accepted
    return 1 if is_for_clients else 2


def _registration_number(known: Conversations, event: TraceEvent, again: int) -> int:
    """Return the number of a registration. again: that of one for reading after a write."""
    if event.peer <= 0 or event.phrase.template.startswith("removes"):
        return 0
    if "EPOLLOUT" in event.text:
        return 4
    return again if event.peer in known.served else 1


def _reactor(known: Conversations, event: TraceEvent) -> int:
    if event.activity is Activity.REGISTER:
        return _registration_number(known, event, again=7)
    if event.activity is Activity.ACCEPT:
        return 1
    is_second = known.peer(event) in known.polled_for_writing
    if not known.is_main(event):
        return _reactor_worker_number(known, event, 7 if is_second else 4)
    if event.activity is Activity.WAIT:
        return _wait_number(known, event)
    return _queue_number(event, known.peer(event), 6 if is_second else 3, Activity.PUT)


def _reactor_worker_number(known: Conversations, event: TraceEvent, number: int) -> int:
    """Return the number of what a worker does. number: that of the job it has taken."""
    peer = known.peer(event)
    if event.activity in _SENDS:
        return 7
    is_work = event.activity in _WORK and peer in known.requests
    if (is_work or event.activity is Activity.READ) and peer > 0 and not event.is_begin:
        return number
    return _queue_number(event, peer, number, Activity.TAKE)


def _queue_number(event: TraceEvent, peer: int, number: int, activity: Activity) -> int:
    """Return the number of putting or taking a job: 1 for the listener's."""
    if event.activity is not activity or event.is_begin or not peer:
        return 0
    return 1 if peer == LISTENER else number


def _simulated_proactor(known: Conversations, event: TraceEvent) -> int:
    if event.activity is Activity.REGISTER:
        return _registration_number(known, event, again=6)
    if known.is_main(event):
        return _main_number(known, event)
    is_work = event.activity in _WORK | {Activity.TAKE}
    return 4 if is_work and not event.is_begin else 0


def _main_number(known: Conversations, event: TraceEvent) -> int:
    """Return the number of what the main thread of a simulated Proactor does."""
    peer, activity = known.peer(event), event.activity
    if activity is Activity.WAIT:
        return _wait_number(known, event)
    if peer > 0 and activity in _MAIN_NUMBERS:
        return _MAIN_NUMBERS[activity]
    if peer in known.requests and activity in _WORK | {Activity.ASK}:
        return 4 if peer in known.made else 3
    return 0


_MAIN_NUMBERS = {
    Activity.ACCEPT: 1,
    Activity.READ: 3,
    Activity.PUT: 3,
    Activity.WRITE: 6,
    Activity.SEND_FILE: 6,
}


def _signal_driven(known: Conversations, event: TraceEvent) -> int:
    activity = event.activity
    if activity in {Activity.ACCEPT, Activity.REGISTER}:
        return 2
    if activity in {Activity.READ, *_SENDS}:
        return 3
    if event.phrase.template.startswith("goes on"):
        return 1
    if activity is Activity.READ_SIGNALS:
        return _signal_number(known, event, 1)
    is_wake_up = activity is Activity.WAIT and event.peer and not event.is_begin
    if is_wake_up or event.phrase.template.startswith("the signal handler"):
        return _signal_number(known, event, 2)
    return 3 if activity in _WORK and known.peer(event) in known.requests else 0


def _signal_number(known: Conversations, event: TraceEvent, client: int) -> int:
    """Return the number of an event that a signal has caused: client, or 3 for data."""
    peer = known.next_peer(event)
    return 3 if peer in known.accepted else client if peer else 0


def _proactor(known: Conversations, event: TraceEvent) -> int:
    peer = known.peer(event)
    if event.activity is Activity.WAIT:
        return (5 if known.polled_for_writing else 2) if event.is_begin else 0
    for activity, operation, number in _RING_NUMBERS:
        if is_ring(event, activity, operation):
            return number
    if event.activity in _WORK:
        return 4 if peer in known.requests else 7 if peer in known.made else 0
    return 0


_RING_NUMBERS = (
    (Activity.SUBMIT, "receive", 1),
    (Activity.COMPLETE, "receive", 3),
    (Activity.SUBMIT, "read", 4),
    (Activity.COMPLETE, "read", 4),
    (Activity.SUBMIT, "send", 4),
    (Activity.COMPLETE, "send", 6),
)


def _proactor_aio(operations: LibraryOperations, known: Conversations, event: TraceEvent) -> int:
    if event.is_begin:
        return 0
    if known.is_library(event):
        return _library_number(operations, event)
    if not known.is_main(event):
        return _worker_number(operations, event)
    return _signal_reader_number(operations, event)


def _signal_reader_number(operations: LibraryOperations, event: TraceEvent) -> int:
    """Return the number of what the main thread does: it accepts, and reads signals."""
    if event.activity is Activity.ACCEPT or event.phrase.template.startswith("starts to read"):
        return 1
    if event.activity is Activity.PUT:
        return _SIGNAL_NUMBERS.get(operations.put(), 0)
    if (
        event.activity in {Activity.WAIT, Activity.READ_SIGNALS, Activity.COMPUTE}
        and not event.peer
    ):
        return _SIGNAL_NUMBERS.get(operations.reported, 0)
    return 0


def _library_number(operations: LibraryOperations, event: TraceEvent) -> int:
    if event.activity in MOVES:
        return _LIBRARY_NUMBERS.get(operations.complete(event), 0)
    if event.activity is Activity.WAKE:
        return _LIBRARY_NUMBERS.get(operations.last(event), 0)
    return 0


def _worker_number(operations: LibraryOperations, event: TraceEvent) -> int:
    """Return the number of what a worker does with the operation that it has taken."""
    if event.activity is Activity.TAKE:
        return _SIGNAL_NUMBERS.get(operations.take(event.thread), 0)
    is_write = operations.taken(event.thread) is Activity.WRITE
    return (7 if is_write else 4) if operations.taken(event.thread) else 0


_LIBRARY_NUMBERS: Mapping[Activity | None, int] = {
    Activity.READ: 3,
    Activity.READ_FILE: 4,
    Activity.WRITE: 6,
}
_SIGNAL_NUMBERS: Mapping[Activity | None, int] = {
    Activity.READ: 4,
    Activity.READ_FILE: 4,
    Activity.WRITE: 7,
}

_NUMBERINGS: Mapping[str, Callable[[], Numbering]] = {
    "reactor": lambda: _reactor,
    "simulated-proactor": lambda: _simulated_proactor,
    "asyncio": lambda: _simulated_proactor,
    "signal-driven": lambda: _signal_driven,
    "proactor": lambda: _proactor,
    "proactor-aio": lambda: partial(_proactor_aio, LibraryOperations()),
}
"""What makes the numbering of a trace, by the name of its model."""
