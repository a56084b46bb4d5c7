"""What happened, from whichever source: the client, the server's marks, or strace."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CLIENT = 0  # the lane of no thread


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that one thread did: at a POSIX time, in words.

    `thread` is Linux's number of it, or CLIENT. `with_kernel` tells of a system call, and `detail`
    is that call as strace writes it.
    """

    at: float
    thread: int
    what: str
    with_kernel: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call: when it was made, and when it returned."""

    began: float
    at: float
    thread: int
    name: str
    arguments: str
    result: str

    @property
    def error_name(self) -> str:
        """The name of the error, or nothing."""
        found = re.match(r"-1 (E[A-Z]+)", self.result)
        return found[1] if found else ""

    @property
    def return_value(self) -> int:
        """The result as a number; -1 for none."""
        found = re.match(r"-?\d+", self.result)
        return int(found[0]) if found else -1


_LINE = re.compile(r"(\d+)\s+(\d+\.\d+) (.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")
_BEGUN = re.compile(r"(\w+)\((.*?)\s*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)\)\s+= (.*?)(?: <(\d+\.\d+)>)?$")


def read_syscalls(lines: Iterable[str]) -> Iterator[Syscall]:
    """Yield the system calls in what `strace -f -ttt -T` has written, each when it returned."""
    begun: dict[int, tuple[float, str]] = {}
    for line in lines:
        found = _LINE.match(line)
        if not found:
            continue
        thread, at, rest = int(found[1]), float(found[2]), found[3]
        if whole := _WHOLE.match(rest):
            yield Syscall(at, at + float(whole[4] or 0), thread, whole[1], whole[2], whole[3])
        elif start := _BEGUN.match(rest):
            begun[thread] = at, start[2]
        elif end := _RESUMED.match(rest):
            began, first = begun.pop(thread, (at, ""))
            yield Syscall(began, at, thread, end[1], first + end[2], end[3])


def read_marks(lines: Iterable[str]) -> Iterator[tuple[float, int, str, str]]:
    """Yield what the server has said itself: time, thread, its kind, and text.

    The kinds: "thread", whose text is its name; "step"; "ring", which is one with the kernel.
    """
    for line in lines:
        at, thread, kind, text = line.rstrip("\n").split(" ", 3)
        yield float(at), int(thread), kind, text
