"""Run abench against servers with one limit each, and print which limit it named how often.

python -m benchmarks.lab --runs 10 takes five minutes. Each row is a case, its columns are verdicts.
Exit code 1 if one of them is named rightly in fewer than 9 of 10 runs. The cases run in namespaces
of their own: their ports, counters, devices and mounts are not those of this machine.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.lab import namespace
from benchmarks.lab.cases import CASES, Case, run

NEEDED = 0.9
"""Share of the runs of a case in which abench must name its limiter."""

WIDTH = 100
"""Columns of the matrix, which would not be readable in fewer."""


@dataclass
class Outcomes:
    """How often abench named which limiter in the runs of a case."""

    case: Case
    named: Counter[str] = field(default_factory=Counter)

    @property
    def is_right(self) -> bool:
        """Whether the limiter was named often enough."""
        return self.named[self.case.limiter] >= NEEDED * self.named.total()


def main(arguments: Sequence[str]) -> int:
    """Run the lab in its namespaces; return the exit code."""
    options = parse(arguments)
    if not namespace.is_inside():
        if not namespace.is_available():
            sys.exit("the lab needs unshare, ip, /dev/net/tun, /dev/fuse and user namespaces")
        namespace.raise_priority()
        words = namespace.command(arguments)
        os.execvpe(words[0], words, namespace.environment())
    namespace.prepare()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    outcomes = [Outcomes(case) for case in cases]
    console = Console(stderr=True, highlight=False)
    for number in range(options.runs):
        for each in outcomes:
            report = run(each.case)
            each.named[report["verdict"]["limiter"]] += 1
            describe(console, number + 1, each.case, report["verdict"], in_full=bool(options.only))
    if options.json:
        print(json.dumps({one.case.name: dict(one.named) for one in outcomes}))
    else:
        Console(width=WIDTH, highlight=False).print(matrix(outcomes))
    return 0 if all(one.is_right for one in outcomes) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.lab", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="of each case")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument(
        "only", nargs="*", metavar="CASE", help=f"one of: {', '.join(one.name for one in CASES)}"
    )
    return parser.parse_args(arguments)


def describe(
    console: Console, number: int, case: Case, verdict: Mapping[str, Any], *, in_full: bool
) -> None:
    """Print one run: its verdict, with the evidence and the advice if it is wrong or `in_full`."""
    is_right = verdict["limiter"] == case.limiter
    mark = "ok" if is_right else "WRONG"
    console.print(f"{number} {mark} {case.name}: {verdict['limiter']}. {verdict['sentence']}")
    if is_right and not in_full:
        return
    for line in verdict["evidence"]:
        console.print(f"  {line}")
    for line in verdict["advice"]:
        console.print(f"  try: {line}")


def matrix(outcomes: Iterable[Outcomes]) -> Table:
    """Return the confusion matrix: a row for each case, a numbered column for each verdict."""
    outcomes = list(outcomes)
    names = list(dict.fromkeys(one.case.limiter for one in outcomes))
    names += sorted({name for one in outcomes for name in one.named}.difference(names))
    numbers = [str(number) for number, _ in enumerate(names, 1)]
    table = Table("case", "is limited by", "named", *numbers, box=None, padding=(0, 1, 0, 0))
    for one in outcomes:
        right = f"{one.named[one.case.limiter]}/{one.named.total()}"
        limiter = f"{names.index(one.case.limiter) + 1} {one.case.limiter}"
        table.add_row(
            one.case.name, limiter, right, *(str(one.named[name] or "") for name in names)
        )
    for number, name in zip(numbers, names, strict=True):
        if all(one.case.limiter != name for one in outcomes):
            table.add_row("", f"{number} {name}")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
