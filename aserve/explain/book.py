"""The numbered steps in which books describe Reactor and Proactor, and the events of each."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from aserve.explain.capture import RequestTrace
from aserve.explain.events import LISTENER, Activity, TraceEvent, is_client
from aserve.explain.phrase import Phrase
from aserve.explain.timeline import ready_peers

_REACTOR = (
    Phrase("The main thread has the kernel poll the socket for data to read."),
    Phrase("The main thread waits in epoll_wait until there is data to read."),
    Phrase("There is: the main thread puts the socket into the request queue."),
    Phrase(
        "A thread that slept at the queue wakes up, reads the data, handles the request, and has"
        " the socket polled for writing."
    ),
    Phrase("The main thread waits in epoll_wait until the socket can be written to."),
    Phrase("It can: the main thread puts the socket into the request queue."),
    Phrase("A thread that slept at the queue wakes up, and writes the response."),
)
_SIMULATED_PROACTOR = (
    Phrase("The main thread has the kernel poll the socket for data to read."),
    Phrase("The main thread waits in epoll_wait until there is data to read."),
    Phrase(
        "There is: the main thread reads until nothing is left, makes a request object of it, and"
        " puts that into the request queue."
    ),
    Phrase(
        "A thread that slept at the queue wakes up, handles the request, and has the socket polled"
        " for writing."
    ),
    Phrase("The main thread waits in epoll_wait until the socket can be written to."),
    Phrase("It can: the main thread writes the response."),
)
_PROACTOR = (
    Phrase("The main thread asks the kernel to read: into which buffer, and how to report it."),
    Phrase("The main thread goes on with something else."),
    Phrase("The kernel has read the data into the buffer, and reports it."),
    Phrase("The request is handled, and the kernel is asked to write the response."),
    Phrase("The main thread goes on with something else."),
    Phrase("The kernel has written the response, and reports it."),
    Phrase("What is left is tidied up, such as whether to close the socket."),
)
WORKFLOWS: Mapping[str, Sequence[Phrase]] = {
    "reactor": _REACTOR,
    "simulated-proactor": _SIMULATED_PROACTOR,
    "asyncio": _SIMULATED_PROACTOR,
    "proactor": _PROACTOR,
}
"""The steps, by the name of the model that is meant to take them."""

_WORK = frozenset({Activity.COMPUTE, Activity.CALL, Activity.READ_FILE})
Numbering = Callable[["_Conversations", TraceEvent], int]


def book_steps(trace: RequestTrace) -> list[int]:
    """Return the number of the step that each event belongs to, 0 for none."""
    numbering = _NUMBERINGS.get(trace.model)
    if not numbering:
        return [0] * len(trace.events)
    conversations = _Conversations(trace)
    return [_number(conversations, event, numbering) for event in trace.events]


def _number(conversations: "_Conversations", event: TraceEvent, numbering: Numbering) -> int:
    if is_client(event.thread):
        return 0
    conversations.before(event)
    number = numbering(conversations, event)
    conversations.after(event)
    return number


class _Conversations:
    """What is known of each connection: by the port of its client."""

    def __init__(self, trace: RequestTrace) -> None:
        self._main = {thread for thread, name in trace.threads.items() if name == "MainThread"}
        self._queued: dict[str, list[int]] = defaultdict(list)
        self._at_work: dict[int, int] = {}  # the peer that a thread is busy with
        self._reported: list[int] = []  # peers that the main thread has to put into the queue
        self.requests: set[int] = set()  # peers whose request was read, and not answered yet
        self.made: set[int] = set()  # those whose response is being made, or is made
        self.polled_for_writing: set[int] = set()
        self.reported: set[int] = set()  # those of them that were found writable

    def is_main(self, event: TraceEvent) -> bool:
        """Tell whether the main thread did it."""
        return event.thread in self._main

    def peer(self, event: TraceEvent) -> int:
        """Return whose connection an event is about, as far as is known."""
        return event.peer or self._at_work.get(event.thread, 0)

    def before(self, event: TraceEvent) -> None:
        """Note what an event says about the connections."""
        if event.activity is Activity.TAKE:
            jobs = self._queued[event.key]
            peer = jobs.pop(0) if jobs and not event.is_begin else 0
            self._at_work[event.thread] = peer
        elif event.peer > 0 or event.activity is Activity.WAIT:
            self._at_work[event.thread] = event.peer
        self._note_queue(event)
        if _has_read(event):
            self.requests.add(event.peer)
        if event.phrase.template.startswith("builds the response"):
            self.made.add(self.peer(event))
        if event.activity is Activity.REGISTER and "EPOLLOUT" in event.text:
            self.polled_for_writing.add(event.peer)
            self.reported.discard(event.peer)

    def _note_queue(self, event: TraceEvent) -> None:
        """Note whose job the main thread queues: connections in order, and then the listener."""
        if event.activity is Activity.WAIT and self.is_main(event) and not event.is_begin:
            self._reported = sorted(ready_peers(event), key=LISTENER.__eq__)
        elif event.activity is Activity.READ and self.is_main(event):
            self._reported = []
        elif event.activity is Activity.PUT:
            if self._reported:
                self._at_work[event.thread] = self._reported.pop(0)
            self._queued[event.key].append(self.peer(event))

    def after(self, event: TraceEvent) -> None:
        """Forget a request that is answered."""
        if event.activity is Activity.WAIT and event.peer in self.polled_for_writing:
            self.reported.add(event.peer)
        if event.activity in {Activity.WRITE, Activity.SEND_FILE} and not event.is_begin:
            for peers in (self.requests, self.made, self.polled_for_writing):
                peers.discard(event.peer)
        if _is_ring(event, Activity.SUBMIT, "send"):
            self.requests.discard(event.peer)
            self.polled_for_writing.add(event.peer)
        if _is_ring(event, Activity.COMPLETE, "send"):
            self.made.add(event.peer)
            self.polled_for_writing.discard(event.peer)
        if _is_ring(event, Activity.SUBMIT, "receive"):
            self.made.discard(event.peer)


def _has_read(event: TraceEvent) -> bool:
    if event.is_begin or event.peer <= 0:
        return False
    is_read = event.activity is Activity.READ or _is_ring(event, Activity.COMPLETE, "receive")
    return is_read and bool(event.phrase.values) and event.phrase.values.get("result") != "0"


def _is_ring(event: TraceEvent, activity: Activity, operation: str) -> bool:
    return event.activity is activity and f" {operation}" in event.phrase.template


def _wait_number(known: _Conversations, event: TraceEvent, first: int) -> int:
    """Return the number of a wait, or of its end. first: that of the wait for data."""
    if event.is_begin:
        return first + 3 if known.polled_for_writing - known.reported else first
    if event.peer <= 0:
        return 0
    return first + (4 if event.peer in known.polled_for_writing else 1)


def _registration_number(event: TraceEvent) -> int:
    if event.peer <= 0 or event.phrase.template.startswith("removes"):
        return 0
    return 4 if "EPOLLOUT" in event.text else 1


def _reactor(known: _Conversations, event: TraceEvent) -> int:
    peer = known.peer(event)
    is_second = peer in known.polled_for_writing
    if event.activity is Activity.REGISTER:
        return _registration_number(event)
    if known.is_main(event):
        if event.activity is Activity.WAIT:
            return _wait_number(known, event, 2)
        return (6 if is_second else 3) if event.activity is Activity.PUT and peer > 0 else 0
    if event.activity in {Activity.WRITE, Activity.SEND_FILE}:
        return 7
    is_work = event.activity in {Activity.READ, Activity.TAKE} or (
        event.activity in _WORK and peer in known.requests
    )
    return (7 if is_second else 4) if is_work and peer > 0 and not event.is_begin else 0


def _simulated_proactor(known: _Conversations, event: TraceEvent) -> int:
    if event.activity is Activity.REGISTER:
        return _registration_number(event)
    if known.is_main(event):
        return _main_number(known, event)
    is_work = event.activity in _WORK | {Activity.TAKE}
    return 4 if is_work and not event.is_begin else 0


def _main_number(known: _Conversations, event: TraceEvent) -> int:
    """Return the number of what the main thread of a simulated Proactor does."""
    peer, activity = known.peer(event), event.activity
    if activity is Activity.WAIT:
        return _wait_number(known, event, 2)
    if peer > 0 and activity in _MAIN_NUMBERS:
        return _MAIN_NUMBERS[activity]
    if peer in known.requests and activity in _WORK | {Activity.ASK}:
        return 4 if peer in known.made else 3
    return 0


_MAIN_NUMBERS = {
    Activity.READ: 3,
    Activity.PUT: 3,
    Activity.WRITE: 6,
    Activity.SEND_FILE: 6,
}


def _proactor(known: _Conversations, event: TraceEvent) -> int:
    peer = known.peer(event)
    if event.activity is Activity.WAIT:
        return (5 if known.polled_for_writing else 2) if event.is_begin else 0
    for activity, operation, number in _RING_NUMBERS:
        if _is_ring(event, activity, operation):
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
_NUMBERINGS: Mapping[str, Numbering] = {
    "reactor": _reactor,
    "simulated-proactor": _simulated_proactor,
    "asyncio": _simulated_proactor,
    "proactor": _proactor,
}
