"""What processes have used, and how to end them."""

import os
import re
import resource
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")


def _raised_limit(wanted: int) -> int:
    """Raise the hard limit of open descriptors where that is allowed, and return up to wanted.

    Root may raise it; for all others it is as high as it is. It can be "unlimited".
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard % (1 << 64) < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, wanted))
            return wanted
    return min(hard % (1 << 64), wanted)


DESCRIPTORS = _raised_limit(65_536)
"""Open descriptors that a process may have: those that this starts inherit the limit."""

_TIMEOUT_S = 10.0
"""Seconds until a process that was told to end is killed."""


class NoMeasurement(Exception):
    """A run is invalid: it is discarded, and the reason is stored."""


def allow_descriptors() -> None:
    """Let this process and those that it starts have DESCRIPTORS open at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


def family(pid: int) -> list[int]:
    """Return the pids of a process and all its descendants."""
    found = [pid]
    for one in found:  # grows while it is walked
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process and its descendants have used, to the nanosecond.

    The clock of a process counts user and kernel mode of all its threads, ended ones too. It is
    what utime + stime in /proc/PID/stat are derived from, which have steps of 10 ms. Those have to
    do for children that have ended: a server that forks for each client has thousands.
    """
    seconds = 0.0
    for one in family(pid):
        with suppress(OSError):  # it has ended just now
            seconds += time.clock_gettime(processor_clock(one)) + _seconds_of_ended(one)
    return seconds


def _seconds_of_ended(pid: int) -> float:
    """Return the processor time of a process's children that it has waited for: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime


def processor_clock(pid: int) -> int:
    """Return what clock_getcpuclockid(3) does, which Python has for threads only."""
    return ~pid << 3 | 2


def resident(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; shared pages count in each."""
    pages = (Path(f"/proc/{one}/statm").read_text().split()[1] for one in family(pid))
    return sum(map(int, pages)) * PAGE


def proportional(pid: int) -> int:
    """Return the bytes of a process and its descendants; a page that n share counts 1/n in each."""
    found = 0
    for one in family(pid):
        with suppress(OSError):  # it has ended just now
            if size := _PROPORTIONAL.search(Path(f"/proc/{one}/smaps_rollup").read_text()):
                found += int(size[1]) << 10
    return found


_PROPORTIONAL = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process and whatever it has started, by pid."""
    pids = family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TIMEOUT_S)
    for pid in pids:  # what is left had its time: all that a server starts ends with it
        with suppress(ProcessLookupError):
            if pid != process.pid or process.returncode is None:
                os.kill(pid, signal.SIGKILL)
    process.wait()
