"""How many processors this process may use, which a container may have narrowed."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available_cpus(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return how many processors can be kept busy, by affinity and by control group quotas.

    Part of a processor counts as one, since a worker can use it. cgroups: where control groups
    are mounted; membership: the file that names ours (cgroups(7)).
    """
    limits = [len(os.sched_getaffinity(0))]
    limits += [
        math.ceil(quota) for group in _groups(cgroups, membership) for quota in _quota(group)
    ]
    return max(1, min(limits))


def _groups(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of our control groups and of those that hold them, in both versions."""
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in {"", "cpu"} or "cpu" in controllers.split(","):
                mounted = cgroups / controllers
                group = mounted / path.lstrip("/")
                yield from (group, *group.parents[: len(Path(path).parents)])
                yield mounted  # a container may see a path of its host here


def _quota(group: Path) -> Iterator[float]:
    """Yield how many processors a control group may use, if it is limited."""
    with suppress(OSError, ValueError):  # ValueError: "max" is no limit
        quota, period = (group / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with suppress(OSError):
        quota = (group / "cpu.cfs_quota_us").read_text()
        period = (group / "cpu.cfs_period_us").read_text()
        if int(quota) > 0:  # -1 is no limit
            yield int(quota) / int(period)
