"""What the threads of a server do: run, wait for a core, or wait for storage."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from abench.system import procfs

MAX_THREADS = 128  # of all processes: to read two files of each takes 50 us, five times a second
_UNINTERRUPTIBLE = "D"


class ThreadUsage(NamedTuple):
    """What threads did over a run.

    `busiest_s` are the seconds in which the busiest thread ran or was ready to run, and
    `without_core_s` those among them in which it got no core. `in_storage` is the average number of
    threads in an uninterruptible sleep, which is a wait for storage or a network file system.
    """

    busiest_s: float
    without_core_s: float
    in_storage: float


class _Times(NamedTuple):
    ran_ns: int
    waited_ns: int


class ThreadMonitor:
    """Samples the threads of processes; of more than MAX_THREADS, only that many."""

    def __init__(self) -> None:
        self._before: dict[str, _Times] = {}  # by path: a thread that began later is not in it
        self._last: dict[str, _Times] = {}
        self._samples = self._seen_in_storage = 0

    def begin(self, pids: Iterable[int]) -> None:
        """Read what the threads have used before the run."""
        for thread in islice(_threads(pids), MAX_THREADS):
            with suppress(OSError, ValueError):
                self._before[thread] = _times(thread)

    def sample(self, pids: Iterable[int]) -> None:
        """Read what each thread has used by now, and what it is doing."""
        self._samples += 1
        for thread in islice(_threads(pids), MAX_THREADS):
            with suppress(OSError, ValueError):  # it has ended: what was read of it stays
                self._last[thread] = _times(thread)
                self._seen_in_storage += _state(thread) == _UNINTERRUPTIBLE

    def result(self) -> ThreadUsage | None:
        """Return what the threads did between `begin` and the last sample; None if unknown."""
        if not self._last:
            return None
        busiest = max((self._used(thread) for thread in self._last), key=sum)
        return ThreadUsage(
            sum(busiest) / 1e9, busiest.waited_ns / 1e9, self._seen_in_storage / self._samples
        )

    def _used(self, thread: str) -> _Times:
        before, last = self._before.get(thread, _Times(0, 0)), self._last[thread]
        return _Times(last.ran_ns - before.ran_ns, last.waited_ns - before.waited_ns)


def own_wait_ns() -> int:
    """Return how long this thread was ready to run and had no core, in ns; 0 if unknown."""
    with suppress(OSError, ValueError):
        return _times("thread-self").waited_ns
    return 0


def _threads(pids: Iterable[int]) -> Iterator[str]:
    """Yield the threads of processes, as paths below /proc."""
    for pid in sorted(pids):
        with suppress(OSError):  # it has ended
            for task in (procfs.PROC / str(pid) / "task").iterdir():
                yield f"{pid}/task/{task.name}"


def _times(thread: str) -> _Times:
    """Read how long a thread ran and was ready to run (Linux, sched-stats.rst)."""
    ran, waited, _ = (procfs.PROC / thread / "schedstat").read_text().split()
    return _Times(int(ran), int(waited))


def _state(thread: str) -> str:
    return procfs.stat_columns(thread)[0]
