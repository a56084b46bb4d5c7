"""What the processes of a server use over a run, watched from outside."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from abench.errors import ParameterError
from abench.system import procfs
from abench.system.threads import ThreadMonitor, ThreadUsage

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


class ServerUsage(NamedTuple):
    """What the processes of the server used over a run: CPU time in seconds, memory in bytes.

    `ended` tells that a named process, or the control group, was gone at the end: then the figures
    are too small. `threads` is None if they cannot be read.
    """

    cpu_s: float
    peak_rss: int
    ended: bool
    threads: ThreadUsage | None = None


def _is_cgroup(path: str) -> bool:
    try:
        return bool(path) and os.access(Path(path) / "cpu.stat", os.R_OK)
    except ValueError:  # a NUL in the path
        return False


class ServerMonitor:
    """Monitors processes and all their descendants, or a control group (v2).

    Making one raises ParameterError if a process or the group does not exist.
    """

    def __init__(self, pids: Iterable[int] = (), cgroup: str | None = None) -> None:
        self._pids = tuple(pids)
        self._cgroup = Path(cgroup) if cgroup is not None else None
        self._peak_rss = 0
        self._group_cpu_s = 0.0
        for pid in self._pids:
            if not (procfs.PROC / str(pid)).is_dir():
                raise ParameterError("--server-pid", f"there is no process {pid}")
        if cgroup is not None and not _is_cgroup(cgroup):
            raise ParameterError("--server-cgroup", f"{cgroup} is not a control group (v2)")
        self._cpu_before_s = self._cpu_s()
        self._threads = ThreadMonitor()
        self._threads.begin(self._processes())

    @property
    def is_active(self) -> bool:
        """Whether there is anything to monitor."""
        return bool(self._pids or self._cgroup)

    def sample(self) -> None:
        """Record the memory in use, what the threads do, and what a group has used that may end."""
        if self.is_active:
            self._threads.sample(self._processes())
            self._peak_rss = max(self._peak_rss, self._rss())
            self._read_group_cpu()

    def result(self) -> ServerUsage | None:
        """Return what was used since this was made; None if there is nothing to monitor."""
        if not self.is_active:
            return None
        self.sample()
        cpu_s = max(0.0, self._cpu_s() - self._cpu_before_s)
        return ServerUsage(cpu_s, self._peak_rss, self._has_ended(), self._threads.result())

    def _processes(self) -> set[int]:
        """Return the processes that there are now."""
        if self._cgroup is None:
            return _with_descendants(self._pids)
        with suppress(OSError):  # it has ended
            return set(map(int, (self._cgroup / "cgroup.procs").read_text().split()))
        return set()

    def _has_ended(self) -> bool:
        if self._cgroup:
            return not _is_cgroup(str(self._cgroup))
        return not all((procfs.PROC / str(pid)).is_dir() for pid in self._pids)

    def _cpu_s(self) -> float:
        if self._cgroup:
            self._read_group_cpu()
            return self._group_cpu_s
        return sum(_cpu_s(pid) for pid in _with_descendants(self._pids))

    def _read_group_cpu(self) -> None:
        """Read what the group has used in all; of one that has ended, the last value stays."""
        if self._cgroup:
            with suppress(OSError):
                words = (self._cgroup / "cpu.stat").read_text().split()
                self._group_cpu_s = int(words[words.index("usage_usec") + 1]) / 1e6

    def _rss(self) -> int:
        if self._cgroup:
            with suppress(OSError):  # it has ended, or memory is not accounted for
                return int((self._cgroup / "memory.current").read_text())
            return 0
        return sum(_rss(pid) for pid in _with_descendants(self._pids))


def _with_descendants(pids: Iterable[int]) -> set[int]:
    """Return processes and all their descendants."""
    found: set[int] = set()
    pending = list(pids)
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += _children(pid)
    return found


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):  # it has ended, as have those below
        for task in (procfs.PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of the children that it has waited for, in s."""
    with suppress(OSError):  # it has ended
        return sum(map(int, procfs.stat_columns(str(pid))[11:15])) * _TICK_S
    return 0.0


def _rss(pid: int) -> int:
    with suppress(OSError):
        return int((procfs.PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_SIZE
    return 0
