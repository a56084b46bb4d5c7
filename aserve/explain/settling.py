"""Wait until a traced server has done all that it can do, however busy the machine is."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MAX_REACTION_S = 5.0
_MAX_SETTLE_S = 30.0
_SPIN_S = 0.2  # of processor time, which a server that never waits gets to react
_PAUSE_S = 0.03  # so that what a server does without any client is seen, too
_POLL_S = 0.005
_AT_REST = frozenset("SZX")  # asleep in a call, or ended; not running, in a disk read, or traced
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ThreadState:
    """What proc(5) says of one thread.

    state: its letter; switches: how many times it has stopped running; cpu_ticks: its processor
    time.
    """

    state: str
    switches: int
    cpu_ticks: int


class Settling:
    """Waits until a server, and strace, have reacted to a client, and then rest.

    They rest if all their threads are asleep, and none has run since that was seen before: time
    that passes without a line in a file may only mean that the machine is busy with others.

    rests: when that was seen, in seconds since the epoch.
    """

    def __init__(self, process: int, output: Path, *, never_waits: bool = False) -> None:
        """Begin. output: the directory of the files to which they write."""
        self._process = process
        self._max_cpu_ticks = _SPIN_S * _TICKS_PER_S if never_waits else float("inf")
        self._output = output
        self._written = self._size()
        self.rests: list[float] = []

    def __call__(self) -> None:
        """Wait; for a server that never waits, until it has had some processor time."""
        deadline = time.monotonic() + _MAX_REACTION_S
        while self._size() == self._written and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        time.sleep(_PAUSE_S)
        self._wait_for_rest()
        self._written = self._size()

    def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + _MAX_SETTLE_S
        threads = thread_states(self._process)
        limit = _cpu_ticks(threads) + self._max_cpu_ticks
        while time.monotonic() < deadline and _cpu_ticks(threads) < limit:
            before = threads
            time.sleep(_POLL_S)
            threads = thread_states(self._process)
            if threads == before and all(one.state in _AT_REST for one in threads.values()):
                self.rests.append(time.time())
                return

    def _size(self) -> int:
        return sum(file.stat().st_size for file in self._output.iterdir() if file.is_file())


def _cpu_ticks(threads: dict[int, ThreadState]) -> int:
    return sum(thread.cpu_ticks for thread in threads.values())


def thread_states(process: int) -> dict[int, ThreadState]:
    """Return the states of the threads of a process and of all that come from it, by thread id."""
    parents = dict(_parents())
    family = {process}
    while new := {child for child, parent in parents.items() if parent in family} - family:
        family |= new
    return {thread: state for one in family for thread, state in _threads_of(one)}


def _parents() -> Iterator[tuple[int, int]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                yield int(entry.name), int(_stat_fields(f"{entry.path}/stat")[1])


def _threads_of(process: int) -> Iterator[tuple[int, ThreadState]]:
    with suppress(FileNotFoundError, ProcessLookupError):
        for entry in os.scandir(f"/proc/{process}/task"):
            with suppress(FileNotFoundError, ProcessLookupError):
                state, *rest = _stat_fields(f"{entry.path}/stat")
                cpu_ticks = int(rest[10]) + int(rest[11])  # utime and stime
                yield int(entry.name), ThreadState(state, _switches(entry.path), cpu_ticks)


def _stat_fields(path: str) -> list[str]:
    """Return the fields after the name of the command, which may have spaces: state, parent, ..."""
    return Path(path).read_text("utf-8", "replace").rpartition(")")[2].split()


def _switches(task: str) -> int:
    lines = Path(f"{task}/status").read_text("utf-8", "replace").splitlines()
    return sum(int(line.rpartition(":")[2]) for line in lines if "_ctxt_switches:" in line)
