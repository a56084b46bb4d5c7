"""Which process something belongs to, and whether it still runs."""

import os
from functools import lru_cache
from pathlib import Path

_STATE, _START = 0, 19  # of the fields behind the name of a process, proc_pid_stat(5)
_ENDED = frozenset("ZX")  # no one has waited for it yet


def current_owner() -> str:
    """Return what names this process, and none before or after it."""
    return _owner(os.getpid())


def is_alive(owner: str) -> bool:
    """Tell whether a process still runs. owner: what names it."""
    pid = owner.rpartition(" ")[2]
    return pid.isdecimal() and _read_owner(int(pid)) == owner


@lru_cache(maxsize=1)  # a child of a fork has another id
def _owner(pid: int) -> str:
    return _read_owner(pid)


def _read_owner(pid: int) -> str:
    """Return the boot, the time of its start, and the id of a process; "" if there is none.

    The kernel uses ids again, but not with the same time.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[_STATE] in _ENDED else f"{_boot_id()} {fields[_START]} {pid}"


@lru_cache(maxsize=1)
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
