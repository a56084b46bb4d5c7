"""The number of CPUs that this process may use, which a container may limit."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many CPUs can be kept busy, by CPU affinity and by control group quotas.

    A fraction of a CPU counts as one, since a worker can use it. cgroups: where control groups
    are mounted; membership: the file that names the groups of this process (cgroups(7)).
    """
    limits = [len(os.sched_getaffinity(0))]
    limits += [
        math.ceil(quota) for group in _groups(cgroups, membership) for quota in _quota(group)
    ]
    return max(1, min(limits))


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the directories of our control groups and their parents, of cgroups v1 and v2."""
    with suppress(OSError):  # a kernel without control groups
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in {"", "cpu"} or "cpu" in controllers.split(","):
                mount_point = cgroups / controllers
                group = mount_point / path.lstrip("/")
                yield from (group, *group.parents[: len(Path(path).parents)])
                yield mount_point  # in a container the path may be one of the host


def _quota(group: Path) -> Iterator[float]:
    """Yield how many CPUs a control group may use, if it has a limit."""
    with suppress(OSError, ValueError):  # OSError: not of cgroups v2; ValueError: "max", no limit
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError):  # not of cgroups v1
        quota = (group / "cpu.cfs_quota_us").read_text()
        period = (group / "cpu.cfs_period_us").read_text()
        if int(quota) > 0:  # -1 is no limit
            yield int(quota) / int(period)
