"""How many whole copies were delivered: compared with a count for each byte."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from aserve.shares.coverage import MAX_RUNS, Coverage, Run

SIZE = 40
Ranges = Sequence[tuple[int, int]]
RANGES = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair)))
)


def coverage_of(ranges: Ranges, size: int = SIZE) -> Coverage:
    coverage = Coverage.of_size(size)
    for start, stop in ranges:
        coverage = coverage.add(start, stop)
    return coverage


def counts(coverage: Coverage) -> list[int]:
    return [run.times for run in coverage.runs for _ in range(run.size)]


@given(RANGES)
def test_each_byte_counts_as_often_as_it_was_delivered(ranges: Ranges) -> None:
    coverage = coverage_of(ranges)
    expected = [sum(start <= at < stop for start, stop in ranges) for at in range(SIZE)]
    assert counts(coverage) == expected
    assert coverage.copies == min(expected)


@given(RANGES)
def test_whole_copies_are_taken_away_and_nothing_else(ranges: Ranges) -> None:
    coverage = coverage_of(ranges)
    rest = coverage.without_copies()
    assert [count + coverage.copies for count in counts(rest)] == counts(coverage)
    assert rest.copies == 0


@given(RANGES, st.randoms(use_true_random=False))
def test_the_order_makes_no_difference(ranges: Ranges, random: object) -> None:
    shuffled = list(ranges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert coverage_of(shuffled) == coverage_of(ranges)


@given(RANGES)
def test_runs_are_as_few_as_can_be_and_survive_as_text(ranges: Ranges) -> None:
    coverage = coverage_of(ranges)
    assert all(run.size > 0 for run in coverage.runs)
    neighbours = zip(coverage.runs, coverage.runs[1:], strict=False)
    assert all(one.times != other.times for one, other in neighbours)
    assert Coverage.decode(coverage.encode()) == coverage


def test_the_number_of_runs_is_bounded_and_nothing_is_taken_for_less() -> None:
    pieces = [(start, start + 10) for start in range(0, 40 * MAX_RUNS, 40)]
    coverage = coverage_of(pieces, 40 * MAX_RUNS)
    assert len(coverage.runs) <= MAX_RUNS
    delivered = counts(coverage)
    assert sum(run.size for run in coverage.runs) == 40 * MAX_RUNS
    assert all(delivered[start] == 1 for start, _ in pieces)


def test_the_least_gap_is_closed_first() -> None:
    gaps = [(at * 100, at * 100 + 50) for at in range(MAX_RUNS // 2)]
    last = gaps[-1][1]
    coverage = coverage_of([*gaps, (last + 1, last + 2)], last + 1_000)
    assert coverage.runs[-2] == Run(52, 1)  # the last piece, the gap of one byte, the one before
    assert len(coverage.runs) == MAX_RUNS
    assert coverage.copies == 0


def test_a_file_of_one_byte() -> None:
    assert Coverage.of_size(1).copies == 0
    assert Coverage.of_size(1).add(0, 1).copies == 1
