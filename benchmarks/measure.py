"""Measure servers side by side, round after round, so that drift affects all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import NoMeasurement
from benchmarks.results import Result
from benchmarks.work import Work

Tell = Callable[[str], None]
"""Called with a server's name before each of its rounds and before its warm-up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How often, how long, and on which site."""

    root: Path
    rounds: int
    seconds: int


def measure(work: Work, names: Sequence[str], plan: Plan, tell: Tell) -> Result:
    """Measure one work with some servers; invalid rounds are discarded, with the reason."""
    result = Result.begun(work, names, plan.rounds, plan.seconds)
    with ExitStack() as stack:
        probes = {}
        for name in names:
            tell(name)
            with _noted(result, name):
                ready = work.kind.ready(name, plan.root, plan.seconds)
                probes[name] = stack.enter_context(ready)
        for number in range(1 if work.once else plan.rounds):
            for name in turned(list(probes), number):
                tell(name)
                with _noted(result, name):
                    result.add(name, probes[name]())
    return result


@contextmanager
def _noted(result: Result, name: str) -> Iterator[None]:
    try:
        yield
    except (NoMeasurement, OSError) as reason:
        result.throw_out(name, str(reason))


def turned(names: list[str], number: int) -> list[str]:
    """Return the names, starting with a different one in each round: no server is always first."""
    start = number % len(names) if names else 0
    return names[start:] + names[:start]
