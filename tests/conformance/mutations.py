"""Flip facts of the table: every flip must fail. It shows that the rows are really compared.

python -m tests.conformance.mutations [COUNT [SEED]]
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom
from typing import NamedTuple

import pytest

from tests.conformance.check_rows import Ask, check_rows
from tests.conformance.rows import ROWS
from tests.conformance.serving import serving_all_rows
from tests.conformance.site import build
from tests.conformance.table import (
    CLOSED,
    EITHER,
    OPEN,
    PRESENT,
    BodyCheck,
    Expected,
    HeaderCheck,
    Outcome,
    Row,
)

ALL_STATUSES = frozenset(range(100, 600))


class Mutant(NamedTuple):
    """A row in which one fact is flipped."""

    fact: str
    row: Row


def mutants(rows: tuple[Row, ...] = ROWS) -> Iterator[Mutant]:
    """Yield every row once for each of its facts, with this fact flipped.

    Rows that wait for a timeout are left out, since each takes a second. Of a response with
    alternatives, only the statuses of all of them together are a fact.
    """
    for row in rows:
        if not row.awaits_timeout:
            for fact, outcome in _flip_outcome(row.aserve):
                yield Mutant(f"{row.name}: not {fact}", replace(row, aserve=outcome))


def _flip_outcome(outcome: Outcome) -> Iterator[tuple[str, Outcome]]:
    if outcome.after is not EITHER:
        other = OPEN if outcome.after is CLOSED else CLOSED
        yield f"{outcome.after} afterwards", replace(outcome, after=other)
    for index, expected in enumerate(outcome.responses):
        for fact, flipped in _flip_response(expected):
            responses = (*outcome.responses[:index], flipped, *outcome.responses[index + 1 :])
            yield f"response {index + 1} with {fact}", replace(outcome, responses=responses)


def _flip_response(expected: Expected) -> Iterator[tuple[str, Expected]]:
    statuses = frozenset().union(*(one.statuses for one in expected.alternatives()))
    yield "this status", replace(expected, statuses=ALL_STATUSES - statuses, others=())
    if expected.others:
        return
    for name, check in expected.headers.items():
        yield name, replace(expected, headers={**expected.headers, name: _flip_header(check)})
    if expected.body is not ...:
        yield "this body", replace(expected, body=_flip_body(expected.body))
    if expected.version:
        other = "HTTP/1.0" if expected.version == "HTTP/1.1" else "HTTP/1.1"
        yield "this version", replace(expected, version=other)
    if expected.interim:
        yield "these interim responses", replace(expected, interim=frozenset())


def _flip_header(check: HeaderCheck) -> HeaderCheck:
    if check is None:
        return PRESENT
    if isinstance(check, str):
        return check + "x"
    if isinstance(check, re.Pattern):
        return lambda value: not check.fullmatch(value)
    return lambda value: not check(value)


def _flip_body(check: BodyCheck) -> BodyCheck:
    if isinstance(check, bytes):
        return check + b"x"
    assert callable(check)
    return lambda response: not check(response)


def survivors(sample: list[Mutant], root: Path) -> list[str]:
    """Ask mutants of aserve; return the flipped facts that no error shows."""
    with serving_all_rows(root) as ask:
        return [mutant.fact for mutant in sample if _passes(mutant.row, ask)]


def _passes(row: Row, ask: Ask) -> bool:
    try:
        check_rows([row], ask)
    except pytest.fail.Exception:
        return False
    return True


def main(count: int = 50, seed: int | None = None) -> int:
    """Exit codes: 0 every flip fails, 1 some do not."""
    seed = SystemRandom().randrange(10_000) if seed is None else seed
    sample = Random(seed).sample(list(mutants()), count)
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        survived = survivors(sample, build(Path(directory)))
    for mutant in sample:
        state = "NOT SEEN" if mutant.fact in survived else "fails"
        sys.stdout.write(f"{state}  {mutant.fact}\n")
    result = f"{count - len(survived)} of {count} flipped facts fail, as they must"
    sys.stdout.write(f"{result}; seed {seed}\n")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
