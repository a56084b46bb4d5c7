"""Events of a trace, from the client, from the marks of the server, and from strace."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from aserve.explain.phrase import Phrase

LISTENER = -1  # in place of a client's port


class Activity(Enum):
    """What an event is about: it decides how a bar is coloured, and where an arrow leads."""

    # The client's
    CONNECT = auto()
    SEND = auto()
    RECEIVE = auto()
    PAUSE = auto()
    """Receives a part, and reads no more for a while."""
    RESUME = auto()
    CLOSE = auto()
    # The server's system calls
    WAIT = auto()
    """Waits until something is ready or complete, and moves no byte of a request."""
    ASK = auto()
    """Asks for what is not there: EAGAIN."""
    ACCEPT = auto()
    READ = auto()
    WRITE = auto()
    READ_FILE = auto()
    SEND_FILE = auto()
    REGISTER = auto()
    """Tells the kernel what to report: epoll_ctl."""
    READ_SIGNALS = auto()
    WAKE = auto()
    """Wakes another thread by a descriptor."""
    START_THREAD = auto()
    CALL = auto()
    """Any other system call."""
    # Of io_uring, which are no system calls
    SUBMIT = auto()
    COMPLETE = auto()
    # Of the server's own code
    PUT = auto()
    TAKE = auto()
    COMPUTE = auto()


_OPERATIONS = ("accept", "receive", "read", "send")
_CODE = frozenset({Activity.PUT, Activity.TAKE, Activity.COMPUTE})


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that one thread or client did.

    at: POSIX time in seconds at which it took effect; started_at and ended_at: when it began and
    was over. thread: Linux's thread id, or that of a client. call: the system call as strace writes
    it, "" for other events. source: the line of Python that made it, as "aserve/x.py:12", "" if it
    is not known. peer: the port of the client whose connection it is about, LISTENER, or 0 if it is
    about none. key: which queue, descriptor or operation it is about, where one event follows from
    another; of a wait, the peers that were ready. is_begin: it only began here, and another event
    is its end. times: how often it happened in a row.
    """

    at: float
    thread: int
    phrase: Phrase
    activity: Activity
    started_at: float = 0.0
    ended_at: float = 0.0
    call: str = ""
    source: str = ""
    peer: int = 0
    key: str = ""
    is_begin: bool = False
    times: int = 1

    @property
    def text(self) -> str:
        """What happened, in English."""
        return str(self.phrase) + (f" ({self.times:,} times)" if self.times > 1 else "")

    @property
    def is_epoll(self) -> bool:
        """Whether it is a call of epoll's."""
        return self.call.startswith("epoll")

    @property
    def ring_operation(self) -> str:
        """Which operation of io_uring it is about, "" for none."""
        return next((name for name in _OPERATIONS if f" {name}" in self.phrase.template), "")

    @property
    def with_kernel(self) -> bool:
        """Whether the kernel did it for the thread."""
        return self.activity not in _CODE


def ready_peers(event: TraceEvent) -> list[int]:
    """Return the ports of the clients whose connections a wait has reported, or LISTENER."""
    return [int(peer) for peer in event.key.split()]


def client_id(number: int) -> int:
    """Return what stands in place of a thread id for a client. number: from 0 on."""
    return -1 - number


def is_client(thread: int) -> bool:
    """Tell a client from a thread."""
    return thread < 0


class Syscall(NamedTuple):
    """A system call, from `started_at` to `at`, both POSIX times in seconds.

    at is infinite if the trace ended before the call did.
    """

    started_at: float
    at: float
    thread: int
    name: str
    arguments: str
    result: str

    @property
    def error_name(self) -> str:
        """The name of the error, "" for none."""
        found = re.match(r"-1 (E[A-Z]+)", self.result)
        return found[1] if found else ""

    @property
    def return_value(self) -> int:
        """The result as a number; -1 for a result that is none."""
        found = re.match(r"-?\d+", self.result)
        return int(found[0]) if found else -1


class Mark(NamedTuple):
    """A line that the traced server wrote.

    kind: "thread", whose text is the name of the thread; "line", a line of Python that is about to
    make a system call, whose text is the name of the function; or the name of an Activity.
    """

    at: float
    thread: int
    kind: str
    text: str
    values: dict[str, str | int]
    source: str
    key: str


SIGNAL = "signal"
_SIGNAL = re.compile(r"--- (SIG\w+ \{.*\}) ---$")
_LINE = re.compile(r"(\d+)\s+(\d+\.\d+) (.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")
_UNFINISHED = re.compile(r"(\w+)\((.*?)\s*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")


def read_syscalls(lines: Iterable[str]) -> Iterator[Syscall]:
    """Yield the system calls in the output of `strace -f -ttt -T`, each when it returned.

    A signal that arrives is one of the name SIGNAL.
    """
    unfinished: dict[int, tuple[float, str, str]] = {}
    for line in lines:
        found = _LINE.match(line)
        if not found:
            continue
        thread, at, rest = int(found[1]), float(found[2]), found[3]
        if whole := _WHOLE.match(rest):
            yield Syscall(at, at + float(whole[4] or 0), thread, whole[1], whole[2], whole[3])
        elif start := _UNFINISHED.match(rest):
            unfinished[thread] = at, start[1], start[2]
        elif end := _RESUMED.match(rest):
            started_at, _, first = unfinished.pop(thread, (at, "", ""))
            yield Syscall(started_at, at, thread, end[1], first + end[2], end[3])
        elif signal := _SIGNAL.match(rest):
            yield Syscall(at, at, thread, SIGNAL, signal[1], "0")
    for thread, (at, name, arguments) in unfinished.items():
        yield Syscall(at, float("inf"), thread, name, arguments, "?")


def write_mark(mark: Mark) -> bytes:
    """Return a mark as a line."""
    return json.dumps(mark, separators=(",", ":")).encode() + b"\n"


def read_marks(lines: Iterable[str]) -> Iterator[Mark]:
    """Yield the marks that the server wrote. A last line that is not complete is left out."""
    for line in lines:
        if line.endswith("\n"):
            yield Mark(*json.loads(line))
