"""Schedules against the results of arithmetic."""

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.errors import ParameterError
from abench.plan.schedule import ARRIVALS, Backoff, Schedule, Stage, constant_rate, parse_stages

rates = st.floats(0.5, 5_000)
stages = st.lists(
    st.builds(Stage, st.floats(0.01, 3), st.just(0.0) | rates, rates), min_size=1, max_size=4
).map(tuple)


def times(schedule: Schedule, count: int = 10_000) -> list[int]:
    return [due for _, due in itertools.islice(schedule.times(), count)]


@given(st.integers(1, 10**6))
def test_delays_grow_and_are_bounded(failures: int) -> None:
    backoff = Backoff()
    assert backoff.min_delay_s <= backoff.delay(failures) <= backoff.max_delay_s
    assert backoff.delay(failures) <= backoff.delay(failures + 1)


def test_the_first_delay_is_short() -> None:
    assert Backoff(0.5, 8).delay(1) == 0.5
    assert Backoff(0.5, 8).delay(3) == 2


def test_a_constant_rate_is_evenly_spaced_from_the_start_on() -> None:
    assert times(Schedule(constant_rate(1_000)), 4) == [0, 1_000_000, 2_000_000, 3_000_000]


def test_a_ramp_reaches_the_number_under_its_line() -> None:
    ramp = Schedule((Stage(10, 0, 100),))
    due = times(ramp)
    assert len(due) == 500  # the triangle: 10 s * 100 / 2
    # After half of the time, a quarter of the triangle is over.
    assert sum(at < 5e9 for at in due) == 125
    assert due == sorted(due)


def test_stages_follow_each_other() -> None:
    due = times(Schedule(parse_stages("1s@10,500ms@100,ramp:2s@0-10")))
    assert len(due) == 10 + 50 + 10
    assert sum(at < 1e9 for at in due) == 10
    assert sum(at < 1.5e9 for at in due) == 60
    assert due[-1] < 3.5e9


@given(stages, st.sampled_from(ARRIVALS), st.integers(1, 5))
def test_shares_together_are_the_whole(some: tuple[Stage, ...], arrivals: str, parts: int) -> None:
    whole = Schedule(some, arrivals)
    shares = [times(whole.share(part, parts), 2_000) for part in range(parts)]
    together = sorted(itertools.chain(*shares))
    count = min(len(share) for share in shares) * parts
    assert together[:count] == times(whole, count)


@given(stages, st.sampled_from(ARRIVALS))
def test_times_never_go_back_and_end_with_the_stages(
    some: tuple[Stage, ...], arrivals: str
) -> None:
    schedule = Schedule(some, arrivals)
    due = times(schedule)
    assert all(earlier <= later for earlier, later in itertools.pairwise(due))
    assert not due or due[-1] <= (schedule.length_s + 1e-6) * 1e9


@given(stages, st.floats(0, 15))
def test_the_number_due_is_the_number_yielded(some: tuple[Stage, ...], after_s: float) -> None:
    schedule = Schedule(some)
    yielded = sum(at < after_s * 1e9 for at in times(schedule, 70_000))
    assert yielded == pytest.approx(schedule.due(after_s), abs=1.001)
    assert schedule.missed(0, after_s) == pytest.approx(yielded, abs=1.001)


def test_poisson_arrivals_are_as_spread_as_theory_says() -> None:
    due = times(Schedule(constant_rate(1_000), "poisson"), 20_000)
    gaps = [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(due)]
    # Exponential gaps: mean and deviation both 1 ms, and 1/e of them longer than that.
    assert statistics.mean(gaps) == pytest.approx(1, rel=0.03)
    assert statistics.pstdev(gaps) == pytest.approx(1, rel=0.03)
    assert sum(gap > 1 for gap in gaps) / len(gaps) == pytest.approx(1 / math.e, abs=0.015)


def test_a_schedule_is_the_same_each_time() -> None:
    assert times(Schedule(constant_rate(9), "poisson"), 50) == times(
        Schedule(constant_rate(9), "poisson"), 50
    )


@pytest.mark.parametrize(
    "text",
    ["", "10", "10s", "10s@", "s@10", "10s@1-5", "ramp:10s@5", "0s@5", "5s@0", "1s@2000000", "x,y"],
)
def test_an_invalid_stage_is_named(text: str) -> None:
    with pytest.raises(ParameterError, match=r"^--stages: "):
        parse_stages(text)


@given(st.text(alphabet="0123456789smh@-,:.ramp ", max_size=30))
def test_any_text_is_stages_or_a_parameter_error(text: str) -> None:
    try:
        found = parse_stages(text)
    except ParameterError:
        return
    assert all(stage.length_s > 0 for stage in found)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, 2_000_000])
def test_an_invalid_rate_is_named(rate: float) -> None:
    with pytest.raises(ParameterError, match=r"^--rate: "):
        constant_rate(rate)
