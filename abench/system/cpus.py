"""The processors that a run may use: those of its CPU affinity and its control groups' quota."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cpus(mount: Path = _MOUNT, own_groups: Path = _OWN_GROUPS) -> int:
    """Return for how many workers there is a processor, or a part of one.

    `mount` is the directory of the control group file systems, `own_groups` the file that names
    the groups of this process.
    """
    allowed = len(os.sched_getaffinity(0))
    for quota in _cpu_quotas(mount, own_groups):
        allowed = min(allowed, max(1, math.ceil(quota)))
    return allowed


def _cpu_quotas(mount: Path, own_groups: Path) -> Iterator[float]:
    try:
        memberships = [line.split(":", 2) for line in own_groups.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, name in memberships:
        hierarchy = mount / controllers  # "" is version 2, which has one hierarchy for all
        parts = Path(name).parts[1:]
        for depth in range(len(parts) + 1):
            yield from _group_quotas(hierarchy.joinpath(*parts[:depth]))


def _group_quotas(group: Path) -> Iterator[float]:
    with suppress(OSError, ValueError):  # OSError: not of version 2
        share, period = (group / "cpu.max").read_text().split()
        if share != "max":
            yield float(share) / float(period)
    with suppress(OSError):  # not of version 1
        share = (group / "cpu.cfs_quota_us").read_text()
        if float(share) > 0:
            yield float(share) / float((group / "cpu.cfs_period_us").read_text())
