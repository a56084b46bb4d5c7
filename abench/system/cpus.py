"""The processors that a run may use: those it may run on, and what a container's quota leaves."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def usable_cpus(mount: Path = _MOUNT, ours: Path = _OURS) -> int:
    """Return for how many workers there is a processor, or a part of one.

    mount: the folder of the control group file systems; ours: what names this process's groups.
    """
    allowed = len(os.sched_getaffinity(0))
    for quota in _cpu_quotas(mount, ours):
        allowed = min(allowed, max(1, math.ceil(quota)))
    return allowed


def _cpu_quotas(mount: Path, ours: Path) -> Iterator[float]:
    try:
        memberships = [line.split(":", 2) for line in ours.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, name in memberships:
        folder = mount / controllers  # "" is version 2, which has one hierarchy for all
        parts = Path(name).parts[1:]
        for depth in range(len(parts) + 1):
            yield from _group_quotas(folder.joinpath(*parts[:depth]))


def _group_quotas(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):
        share, period = (group / "cpu.max").read_text().split()
        if share != "max":
            yield float(share) / float(period)
    with suppress(OSError):
        share = (group / "cpu.cfs_quota_us").read_text()
        if float(share) > 0:
            yield float(share) / float((group / "cpu.cfs_period_us").read_text())
