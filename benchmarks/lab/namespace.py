"""Namespaces in which ports, counters, devices and mounts are those of the lab alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
_INSIDE = "ABENCH_LAB"
_PRIORITY = 1  # the least of the real-time priorities, which are above all others


@cache
def is_available() -> bool:
    """Whether this user may have such namespaces, a TUN device and a FUSE mount in them."""
    if not all(os.access(path, os.R_OK | os.W_OK) for path in ("/dev/net/tun", "/dev/fuse")):
        return False
    try:
        tried = subprocess.run(
            (*_UNSHARE, "ip", "link", "set", "lo", "up"), check=False, capture_output=True
        )
    except OSError:  # there is no unshare
        return False
    return tried.returncode == 0


def is_inside() -> bool:
    """Whether this process is in the namespaces of the lab."""
    return _INSIDE in os.environ


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs the lab in namespaces of its own."""
    return [*_UNSHARE, sys.executable, "-m", "benchmarks.lab", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of that command."""
    return {**os.environ, _INSIDE: "1"}


def raise_priority() -> None:
    """Run before all else, where that is allowed: a delay by others is none of the lab's limits.

    nice would not do: it counts among the processes of a session only (sched(7), autogroups).
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))


def prepare() -> None:
    """Bring the loopback device of the namespace up."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
