"""What a history keeps of each run, and which runs of it can be compared."""

from collections.abc import Iterable
from dataclasses import dataclass

from abench.stats.comparison import measure_run
from abench.stats.plan_differences import circumstances_of, conditions_of
from abench.stats.results import Results
from abench.stats.run_outcome import describe_incident

Conditions = dict[str, str]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One run: when, of what, under which conditions, and its figures."""

    started_at: str
    revision: str | None
    conditions: Conditions
    circumstances: dict[str, str]
    figures: dict[str, float]
    succeeded: int
    failed: int
    incident: str
    failed_conditions: tuple[str, ...]

    @classmethod
    def of(cls, report: Results) -> "HistoryEntry":
        """Return what is kept of a run."""
        environment = report.environment
        return cls(
            started_at=environment.started_at if environment else "",
            revision=environment.revision if environment else None,
            conditions=conditions_of(report),
            circumstances=circumstances_of(report),
            figures=measure_run(report) if report.succeeded else {},
            succeeded=report.succeeded,
            failed=report.failed,
            incident=describe_incident(report),
            failed_conditions=tuple(one.text for one in report.thresholds if one.failed),
        )

    @property
    def is_complete(self) -> bool:
        """Whether its figures are those of a whole run."""
        return not self.incident and bool(self.figures)


def group_by_conditions(entries: Iterable[HistoryEntry]) -> list[list[HistoryEntry]]:
    """Return the runs under each set of conditions, oldest first; a copy of a run counts once."""
    found: dict[tuple[tuple[str, str], ...], list[HistoryEntry]] = {}
    for entry in sorted(entries, key=lambda one: one.started_at):
        runs = found.setdefault(tuple(sorted(entry.conditions.items())), [])
        if entry not in runs[-1:]:
            runs.append(entry)
    return list(found.values())


def distinguishing(groups: Iterable[list[HistoryEntry]]) -> list[str]:
    """Return the names of the conditions that are not the same in all groups."""
    listed = [group[0].conditions for group in groups]
    names = dict.fromkeys(name for conditions in listed for name in conditions)
    return [name for name in names if len({one.get(name) for one in listed}) > 1]
