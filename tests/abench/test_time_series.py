import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from abench.runner.worker import REPORT_INTERVAL_S, until_next_report
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.time_series import MAX_INTERVALS, TimeSeries

intervals = st.builds(
    Interval,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.lists(st.integers(0, 9_000), max_size=3).map(Histogram.of),
)


def series_of(intervals: dict[int, Interval]) -> TimeSeries:
    series = TimeSeries()
    for at_s, interval in intervals.items():
        series.add(at_s, interval)
    return series


series = st.dictionaries(st.integers(0, 5_000), intervals, max_size=20).map(series_of)


def merged(one: TimeSeries, other: TimeSeries) -> TimeSeries:
    whole = TimeSeries()
    whole.merge(one)
    whole.merge(other)
    return whole


@settings(deadline=None)  # packed intervals: zlib takes long on a busy machine
@given(series, series)
def test_merging_is_commutative(one: TimeSeries, other: TimeSeries) -> None:
    assert merged(one, other) == merged(other, one)


@settings(deadline=None)
@given(series)
def test_time_series_survives_a_round_trip(one: TimeSeries) -> None:
    assert TimeSeries.decode(one.encode()) == one


def test_long_run_has_longer_steps_and_loses_nothing() -> None:
    series = series_of({at_s: Interval(succeeded=1) for at_s in range(4 * MAX_INTERVALS)})
    assert series.step_s == 4
    assert len(series.intervals) == MAX_INTERVALS
    assert {interval.succeeded for interval in series.intervals.values()} == {4}


def test_fine_series_is_merged_into_coarse_steps() -> None:
    coarse = series_of({at_s: Interval(succeeded=1) for at_s in range(MAX_INTERVALS + 1)})
    fine = series_of({3: Interval(failed=1)})
    assert merged(coarse, fine) == merged(fine, coarse)
    assert merged(coarse, fine).intervals[2] == Interval(succeeded=2, failed=1)


@given(st.integers(0, 10**6), st.floats(-0.04, 0.04))
def test_next_report_is_on_time_after_a_late_or_early_one(reports: int, off_s: float) -> None:
    now = max(0.0, reports * REPORT_INTERVAL_S + off_s)
    assert abs(now + until_next_report(now) - (reports + 1) * REPORT_INTERVAL_S) < 1e-6


@given(st.dictionaries(st.integers(0, 30), intervals, max_size=12), st.lists(st.integers(0, 30)))
def test_packed_intervals_keep_their_data(some: dict[int, Interval], accessed: list[int]) -> None:
    packed = PackedIntervals(copy.deepcopy(some))
    for at_s in accessed:
        if at_s in some:
            packed[at_s].merge(Interval(succeeded=1))
            some[at_s].merge(Interval(succeeded=1))
    assert packed == some
    assert list(packed) == list(some)
