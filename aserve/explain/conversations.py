"""What is known of each connection while a trace is read, event by event."""

from collections import defaultdict, deque

from aserve.explain.capture import RequestTrace
from aserve.explain.events import LISTENER, Activity, TraceEvent, ready_peers

MOVES = frozenset({Activity.READ, Activity.READ_FILE, Activity.WRITE, Activity.SEND_FILE})


class Conversations:
    """What the events so far say: by the port of each client, and of each thread."""

    def __init__(self, trace: RequestTrace) -> None:
        self._threads = trace.threads
        self._next_peers = _next_peers(trace)
        self._ends = _ends_of_waits(trace)
        self._queued: dict[str, list[int]] = defaultdict(list)
        self._at_work: dict[int, int] = {}  # the peer that a thread is busy with
        self._reported: list[int] = []  # peers that the main thread has to put into the queue
        self.accepted: set[int] = set()
        self.requests: set[int] = set()  # peers whose request was read, and not answered yet
        self.made: set[int] = set()  # those whose response is being made, or is made
        self.served: set[int] = set()  # those who have got a response
        self.polled_for_writing: set[int] = set()
        self.reported: set[int] = set()  # those of them that were found writable

    def is_main(self, event: TraceEvent) -> bool:
        """Tell whether the main thread did it."""
        return self._threads.get(event.thread) == "MainThread"

    def is_library(self, event: TraceEvent) -> bool:
        """Tell whether a thread did it that Python does not know."""
        return event.thread not in self._threads

    def peer(self, event: TraceEvent) -> int:
        """Return whose connection an event is about, as far as is known."""
        return event.peer or self._at_work.get(event.thread, 0)

    def next_peer(self, event: TraceEvent) -> int:
        """Return whose connection its thread turns to with an event or after it, 0 for none."""
        return self._next_peers.get(id(event), 0)

    def end_of_wait(self, event: TraceEvent) -> TraceEvent | None:
        """Return the end of a wait that begins with an event; None if the trace ends first."""
        return self._ends.get(id(event))

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
        if event.activity is Activity.ACCEPT and not event.is_begin:
            self.accepted.add(event.peer)
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
            self.served.add(event.peer)
            for peers in (self.requests, self.made, self.polled_for_writing):
                peers.discard(event.peer)
        if is_ring(event, Activity.SUBMIT, "send"):
            self.requests.discard(event.peer)
            self.polled_for_writing.add(event.peer)
        if is_ring(event, Activity.COMPLETE, "send"):
            self.made.add(event.peer)
            self.polled_for_writing.discard(event.peer)
        if is_ring(event, Activity.SUBMIT, "receive"):
            self.made.discard(event.peer)


class LibraryOperations:
    """Which operations the threads of the C library have completed, in this order.

    An end of file is none: it starts no step.
    """

    def __init__(self) -> None:
        self._last: dict[int, Activity | None] = {}  # of each thread
        self._completed: deque[Activity | None] = deque()  # and not handled by the main thread
        self._queued: deque[Activity | None] = deque()
        self._taken: dict[int, Activity | None] = {}  # what each worker goes on with

    def complete(self, event: TraceEvent) -> Activity | None:
        """Note what a thread of the library has moved; return it."""
        is_end = event.activity is Activity.READ and not _has_read(event)
        self._last[event.thread] = None if is_end else event.activity
        self._completed.append(self._last[event.thread])
        return self._last[event.thread]

    def last(self, event: TraceEvent) -> Activity | None:
        """Return what a thread of the library has moved last."""
        return self._last.get(event.thread)

    @property
    def reported(self) -> Activity | None:
        """The operation whose signal the main thread handles."""
        return self._completed[0] if self._completed else None

    def put(self) -> Activity | None:
        """Note that the main thread queues an operation; return it."""
        self._queued.append(self._completed.popleft() if self._completed else None)
        return self._queued[-1]

    def take(self, worker: int) -> Activity | None:
        """Note that a worker takes an operation; return it."""
        self._taken[worker] = self._queued.popleft() if self._queued else None
        return self._taken[worker]

    def taken(self, worker: int) -> Activity | None:
        """Return the operation that a worker goes on with."""
        return self._taken.get(worker)


def is_ring(event: TraceEvent, activity: Activity, operation: str) -> bool:
    """Tell whether an event is about an operation of io_uring."""
    return event.activity is activity and f" {operation}" in event.phrase.template


def _has_read(event: TraceEvent) -> bool:
    if event.is_begin or event.peer <= 0:
        return False
    is_read = event.activity is Activity.READ or is_ring(event, Activity.COMPLETE, "receive")
    return is_read and bool(event.phrase.values) and event.phrase.values.get("result") != "0"


def _next_peers(trace: RequestTrace) -> dict[int, int]:
    """Return for each event the next peer that its thread turns to."""
    found: dict[int, int] = {}
    upcoming: dict[int, int] = {}
    for event in reversed(trace.events):
        if event.peer:
            upcoming[event.thread] = event.peer
        found[id(event)] = upcoming.get(event.thread, 0)
    return found


def _ends_of_waits(trace: RequestTrace) -> dict[int, TraceEvent]:
    """Return the end of each wait, by the id of the event that is its beginning."""
    found: dict[int, TraceEvent] = {}
    upcoming: dict[int, TraceEvent] = {}
    for event in reversed(trace.events):
        if event.activity is Activity.WAIT and not event.is_begin:
            upcoming[event.thread] = event
        elif event.activity is Activity.WAIT and event.thread in upcoming:
            found[id(event)] = upcoming[event.thread]
    return found
