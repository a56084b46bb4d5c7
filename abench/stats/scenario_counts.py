"""The counts of a scenario: its iterations, its checks, and its requests by step."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from abench.stats import counts
from abench.stats.counts import BY_NAME, HISTOGRAM, SUM, Rule
from abench.stats.group_recorder import GroupRecorder
from abench.stats.groups import GroupStats
from abench.stats.histogram import Histogram
from abench.stats.samples import format_message

MAX_NAMES = 500  # of steps, and of checks: more are counted together
OTHER_NAMES = "(other)"


@dataclass
class CheckCounts:
    """How often one check has passed and failed."""

    passed: Annotated[int, SUM] = 0
    failed: Annotated[int, SUM] = 0


@dataclass
class ExceptionCounts:
    """How often a line has raised; `message` is one of them: the first by the alphabet."""

    count: Annotated[int, SUM] = 0
    message: Annotated[str, Rule(min)] = ""


def _by_name(kind: Any) -> Rule:
    """Return the rule for a mapping of names to counts of a class."""

    def merge(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        for name, found in other.items():
            if name in one:
                counts.merge(one[name], found)
            else:  # what is merged is not changed, and so not shared
                one[name] = counts.decode(kind, counts.encode(found))
        return one

    return Rule(
        merge,
        lambda named: {name: counts.encode(one) for name, one in named.items()},
        lambda plain: {name: counts.decode(kind, one) for name, one in plain.items()},
    )


@dataclass
class ScenarioCounts:
    """The counts of a scenario in a run, or in any part of it.

    An iteration is one way along a path. `ends` says how iterations ended: "completed", "failed" by
    a request that got no response, or "raised" by an exception of the scenario. Those that had not
    ended when the clock stopped are `unfinished`. `times` are those of completed iterations without
    think time, from when each was due, in a closed loop from its start.
    """

    ends: Annotated[Counter[str], BY_NAME] = field(default_factory=Counter)
    unfinished: Annotated[int, SUM] = 0
    times: Annotated[Histogram, HISTOGRAM] = field(default_factory=Histogram)
    steps: Annotated[dict[str, GroupStats], _by_name(GroupStats)] = field(default_factory=dict)
    checks: Annotated[dict[str, CheckCounts], _by_name(CheckCounts)] = field(default_factory=dict)
    exceptions: Annotated[dict[str, ExceptionCounts], _by_name(ExceptionCounts)] = field(
        default_factory=dict
    )

    @property
    def ended(self) -> int:
        """Iterations with an end."""
        return self.ends.total()

    def merge(self, other: "ScenarioCounts") -> None:
        """Add another part of the same run."""
        counts.merge(self, other)

    def encode(self) -> dict[str, Any]:
        """Return JSON data."""
        return counts.encode(self)

    @classmethod
    def decode(cls, plain: Mapping[str, Any]) -> "ScenarioCounts":
        """Decode the data of `encode`."""
        return counts.decode(cls, plain)


class ScenarioRecorder:
    """The counts of the users of one process since they were last taken."""

    def __init__(self) -> None:
        self._steps: dict[str, GroupRecorder] = {}
        self._check_names: set[str] = set()
        self._start()

    def _start(self) -> None:
        self._ends: Counter[str] = Counter()
        self._times: list[int] = []
        self._checks: dict[str, CheckCounts] = {}
        self._exceptions: dict[str, ExceptionCounts] = {}

    def step(self, name: str) -> GroupRecorder:
        """Return where the requests of a step are counted."""
        found = self._steps.get(name)
        if found is None:
            known = name if len(self._steps) < MAX_NAMES else OTHER_NAMES
            found = self._steps.setdefault(known, GroupRecorder())
        return found

    def check(self, name: str, *, passed: bool) -> None:
        """Count a check."""
        found = self._checks.get(name)
        if found is None:
            if name not in self._check_names and len(self._check_names) == MAX_NAMES:
                name = OTHER_NAMES
            else:
                self._check_names.add(name)
            found = self._checks.setdefault(name, CheckCounts())
        if passed:
            found.passed += 1
        else:
            found.failed += 1

    def completed(self, took_us: int) -> None:
        """Count an iteration that has come to its end."""
        self._ends["completed"] += 1
        self._times.append(took_us)

    def failed(self) -> None:
        """Count an iteration that a request without a response has ended."""
        self._ends["failed"] += 1

    def raised(self, place: str, error: BaseException) -> None:
        """Count an iteration that an exception has ended, which came from `place`."""
        self._ends["raised"] += 1
        self.exception(place, error)

    def exception(self, place: str, error: BaseException) -> None:
        """Count an exception, which came from `place`."""
        found = self._exceptions.get(place)
        if found is None:
            found = self._exceptions[place] = ExceptionCounts(0, describe_exception(error))
        found.count += 1

    def take(self) -> ScenarioCounts:
        """Return the counts since the last call, and reset them."""
        taken = ScenarioCounts(
            self._ends,
            times=Histogram.of(self._times),
            steps={name: one.take() for name, one in self._steps.items() if not one.is_empty},
            checks=self._checks,
            exceptions=self._exceptions,
        )
        self._start()
        return taken

    def name_of(self, step: GroupRecorder) -> str:
        """Return the name under which the requests of a step are counted."""
        return next(name for name, one in self._steps.items() if one is step)


def describe_exception(error: BaseException) -> str:
    """Return the class and the message of an exception as one line."""
    text = str(error)
    return format_message((f"{type(error).__name__}: {text}" if text else type(error).__name__,))
