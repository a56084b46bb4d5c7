"""The requests of a plan that have figures of their own: each URL of a mix, or of a log."""

from collections.abc import Hashable, Iterable, Sequence
from heapq import nlargest
from typing import Any, NamedTuple

from abench.plan.log_entries import LogEntries
from abench.plan.target import Target
from abench.plan.url_file import Targets

MAX_GROUPS = 1_000  # a file may have a million URLs: those beyond are one more group
OTHERS = ""  # the URL of that group


class GroupName(NamedTuple):
    """The requests of a group: their method and URL, or OTHERS."""

    method: str
    url: str


class RequestGroups:
    """Groups of requests by their keys in the workload: `keys` has one for each group.

    With `has_others`, requests with other keys are one more group, the last.
    """

    def __init__(self, keys: Iterable[Hashable], *, has_others: bool) -> None:
        self.keys: dict[Any, int] = {key: number for number, key in enumerate(keys)}
        self.has_others = has_others

    def __len__(self) -> int:
        return len(self.keys) + self.has_others

    @property
    def shared(self) -> frozenset[int]:
        """The number of the group that has different requests, if there is one."""
        return frozenset({len(self.keys)} if self.has_others else ())

    def number(self, key: Hashable) -> int:
        """Return the group of a request."""
        return self.keys.get(key, len(self.keys))


def weighted_groups(targets: Sequence[tuple[Target, int]]) -> RequestGroups:
    """Return a group for each URL: those of the highest weights, if there are too many."""
    count = len(targets)
    if count <= MAX_GROUPS:
        return RequestGroups(range(count), has_others=False)
    weights = targets.file.weights if isinstance(targets, Targets) else [n for _, n in targets]
    heaviest = nlargest(MAX_GROUPS, range(count), key=weights.__getitem__)
    return RequestGroups(sorted(heaviest), has_others=True)


def recorded_groups(entries: LogEntries) -> RequestGroups:
    """Return a group for each different request of a log, the most frequent first."""
    found = entries.frequencies
    most = [key for key, _ in found.most_common(MAX_GROUPS)]
    return RequestGroups(most, has_others=len(found) > MAX_GROUPS)
