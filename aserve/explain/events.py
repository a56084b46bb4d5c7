"""Events of a trace, from the client, from the marks of the server, and from strace."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CLIENT = 0  # in place of a thread id


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that one thread did.

    at: POSIX time in seconds; thread: Linux's thread id, or CLIENT; text: what it did;
    with_kernel: whether the kernel did it for the thread; detail: the system call as strace
    writes it, "" for other events.
    """

    at: float
    thread: int
    text: str
    with_kernel: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call, from `started_at` to `at`, both POSIX times in seconds."""

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


_LINE = re.compile(r"(\d+)\s+(\d+\.\d+) (.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")
_SIGNAL = re.compile(r"--- (SIG\w+) ")
_UNFINISHED = re.compile(r"(\w+)\((.*?)\s*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")


def read_syscalls(lines: Iterable[str]) -> Iterator[Syscall]:
    """Yield the system calls in the output of `strace -f -ttt -T`, each when it returned.

    A signal that a thread gets is a call by the name of signal, whose argument is its name.
    """
    unfinished: dict[int, tuple[float, str]] = {}
    for line in lines:
        found = _LINE.match(line)
        if not found:
            continue
        thread, at, rest = int(found[1]), float(found[2]), found[3]
        if whole := _WHOLE.match(rest):
            yield Syscall(at, at + float(whole[4] or 0), thread, whole[1], whole[2], whole[3])
        elif sent := _SIGNAL.match(rest):
            yield Syscall(at, at, thread, "signal", sent[1], "0")
        elif start := _UNFINISHED.match(rest):
            unfinished[thread] = at, start[2]
        elif end := _RESUMED.match(rest):
            started_at, first = unfinished.pop(thread, (at, ""))
            yield Syscall(started_at, at, thread, end[1], first + end[2], end[3])


def read_marks(lines: Iterable[str]) -> Iterator[tuple[float, int, str, str]]:
    """Yield the marks that the server wrote: time, thread, kind and text.

    The kinds: "thread", whose text is the name of the thread; "step", a step of Python code;
    "ring", an operation of io_uring.
    """
    for line in lines:
        at, thread, kind, text = line.rstrip("\n").split(" ", 3)
        yield float(at), int(thread), kind, text
