import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from abench.run.worker import REPORT_INTERVAL_S, until_next_report
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.time_series import MAX_INTERVALS, TimeSeries

moments = st.builds(
    Interval,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.lists(st.integers(0, 9_000), max_size=3).map(Histogram.of),
)


def series_of(moments: dict[int, Interval]) -> TimeSeries:
    series = TimeSeries()
    for at_s, moment in moments.items():
        series.add(at_s, moment)
    return series


series = st.dictionaries(st.integers(0, 5_000), moments, max_size=20).map(series_of)


def merged(one: TimeSeries, other: TimeSeries) -> TimeSeries:
    whole = TimeSeries()
    whole.merge(one)
    whole.merge(other)
    return whole


@settings(deadline=None)  # packed moments: the time of zlib on a busy machine
@given(series, series)
def test_the_order_makes_no_difference(one: TimeSeries, other: TimeSeries) -> None:
    assert merged(one, other) == merged(other, one)


@settings(deadline=None)
@given(series)
def test_a_series_survives_its_journey(one: TimeSeries) -> None:
    assert TimeSeries.decode(one.encode()) == one


def test_a_long_run_is_kept_in_longer_steps_and_loses_nothing() -> None:
    series = series_of({at_s: Interval(succeeded=1) for at_s in range(4 * MAX_INTERVALS)})
    assert series.step_s == 4
    assert len(series.intervals) == MAX_INTERVALS
    assert {moment.succeeded for moment in series.intervals.values()} == {4}


def test_a_fine_series_joins_a_coarse_one_in_its_steps() -> None:
    coarse = series_of({at_s: Interval(succeeded=1) for at_s in range(MAX_INTERVALS + 1)})
    fine = series_of({3: Interval(failed=1)})
    assert merged(coarse, fine) == merged(fine, coarse)
    assert merged(coarse, fine).intervals[2] == Interval(succeeded=2, failed=1)


@given(st.integers(0, 10**6), st.floats(-0.04, 0.04))
def test_a_beat_that_was_late_or_early_is_followed_by_one_in_time(beats: int, off_s: float) -> None:
    now = max(0.0, beats * REPORT_INTERVAL_S + off_s)
    assert abs(now + until_next_report(now) - (beats + 1) * REPORT_INTERVAL_S) < 1e-6


@given(st.dictionaries(st.integers(0, 30), moments, max_size=12), st.lists(st.integers(0, 30)))
def test_moments_are_kept_whole_however_they_are_asked_for(
    some: dict[int, Interval], asked: list[int]
) -> None:
    kept = PackedIntervals(copy.deepcopy(some))
    for at_s in asked:
        if at_s in some:
            kept[at_s].merge(Interval(succeeded=1))
            some[at_s].merge(Interval(succeeded=1))
    assert kept == some
    assert list(kept) == list(some)
