import copy
import io
import tracemalloc
from collections import Counter
from functools import reduce

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abench.report.tables import write_hgrm
from abench.stats.coverage import Coverage
from abench.stats.groups import GroupStats
from abench.stats.handshakes import Handshakes, TlsSession
from abench.stats.histogram import DIGITS, MAX_US, Histogram, LatencyBuffer
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.phases import PHASES, Phases
from abench.stats.recorder import Recorder
from abench.stats.stages import StageStats
from abench.stats.summary import FAILURE_KINDS, ResourceUsage, Summary
from abench.stats.time_series import TimeSeries
from tests.marks import slow_except

times = st.lists(
    st.integers(0, 100) | st.integers(0, 100_000) | st.integers(0, MAX_US), max_size=50
)
phases = st.builds(Phases, **dict.fromkeys(PHASES, times.map(Histogram.of)))
handshakes = st.builds(
    Handshakes,
    resumed=st.integers(0, 9),
    session=st.builds(TlsSession, version=st.sampled_from(["", "TLSv1.2", "TLSv1.3"])),
)


def group_of(some):
    """Return the counts of a group with these service times, and a failure of the last kind."""
    failures = Counter({FAILURE_KINDS[-1]: 1})
    status = Counter({200: len(some), 404: 1})
    return GroupStats(service=Histogram.of(some), status=status, failures=failures, unfinished=1)


parts = st.builds(
    Summary,
    service=times.map(Histogram.of),
    status=st.dictionaries(st.sampled_from([200, 304, 404, 500]), st.integers(1, 10)).map(Counter),
    failures=st.dictionaries(st.sampled_from(FAILURE_KINDS), st.integers(1, 10)).map(Counter),
    response=times.map(Histogram.of),
    series=times.map(
        lambda some: TimeSeries(
            intervals=PackedIntervals({len(some): Interval(1, 2, 3, Histogram.of(some))})
        )
    ),
    costs=st.lists(st.builds(ResourceUsage, st.integers(0, 9), st.integers(0, 9)), max_size=1),
    bytes_received=st.integers(0, 2**50),
    started=st.integers(0, 9),
    stages=times.map(lambda some: {len(some) % 2: StageStats(1, 2, 3, 4, Histogram.of(some))}),
    waits=times.map(Histogram.of),
    answering=st.integers(0, 10**5).map(lambda at: Coverage(spans=[(at, at + 50)])),
    phases=phases,
    sizes=times.map(Histogram.of),
    groups=times.map(lambda some: {len(some) % 3: group_of(some)}),
    handshakes=handshakes,
    paused_ns=st.integers(0, 9),
    steady=st.booleans(),
    open_connections=st.integers(0, 1000),
    unfinished=st.integers(0, 1000),
    elapsed_ns=st.integers(0, 2**40),
    lost=st.integers(0, 3),
    stopped_by=st.sampled_from([0, 2, 15]),
    faults=st.lists(st.sampled_from(["a", "b"]), max_size=2).map(sorted),
)


def merged(*summaries: Summary) -> Summary:
    def into(whole: Summary, part: Summary) -> Summary:
        whole.merge(part)
        return whole

    return reduce(into, summaries, Summary())


any_speed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@any_speed
@given(parts, parts)
def test_merging_is_commutative(a: Summary, b: Summary) -> None:
    assert merged(a, b) == merged(b, a)


@any_speed
@given(parts, parts, parts)
def test_merging_is_associative(a: Summary, b: Summary, c: Summary) -> None:
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@any_speed
@given(parts, parts)
def test_merging_loses_nothing_and_does_not_change_the_other(a: Summary, b: Summary) -> None:
    before = copy.deepcopy(b)
    whole = merged(a, b)
    assert b == before
    assert whole.succeeded == a.succeeded + b.succeeded
    assert whole.failed == a.failed + b.failed


@settings(
    any_speed, max_examples=25
)  # each example walks through the 23 thousand counters of an HdrHistogram
@given(parts)
def test_summary_survives_a_round_trip(summary: Summary) -> None:
    assert Summary.decode(summary.encode()) == summary


@given(times, times)
def test_merged_histograms_equal_the_whole(a: list[int], b: list[int]) -> None:
    parts = Histogram.of(a)
    parts.merge(Histogram.of(b))
    assert parts == Histogram.of(a + b)


@given(times)
def test_buckets_are_those_of_hdr(values: list[int]) -> None:
    hdr = HdrHistogram(1, MAX_US, DIGITS)
    lowest = (hdr.get_lowest_equivalent_value(value) for value in values)
    assert Histogram.of(values).counts == Counter(lowest)


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=300))
def test_percentiles_are_within_a_thousandth(values: list[int]) -> None:
    histogram = Histogram.of(values)
    assert (histogram.count, histogram.min, histogram.max) == (
        len(values),
        min(values),
        max(values),
    )
    assert histogram.mean == sum(values) / len(values)
    for percent, found in histogram.percentiles([50.0, 90.0, 99.0, 100.0]).items():
        rank = max(-int(-percent * len(values) // 100), 1)
        true = sorted(values)[rank - 1]
        assert found is not None
        assert true <= found <= true * 1.001 + 1


@pytest.mark.parametrize(
    "us",
    slow_except([MAX_US, 2**32, 5_000_000_000, 7 * 24 * 3600 * 10**6, 2**53], MAX_US, 2**53),
)
def test_values_above_an_hour_are_kept(us):
    """Response times can be as long as the run: 71.6 minutes are 2**32 us."""
    histogram = Histogram.of([5, us, us])
    assert Histogram.decode(histogram.encode()) == histogram
    assert histogram.hdr().get_total_count() == 3
    assert histogram.hdr().get_max_value() == pytest.approx(us, rel=0.001)
    stream = io.StringIO()
    write_hgrm(histogram, stream)
    assert "TotalCount     =            3]" in stream.getvalue()
    rows = [line.split() for line in stream.getvalue().splitlines() if line[:1] != "#"]
    assert float(rows[-1][0]) == pytest.approx(us / 1000, rel=0.001)


def test_latency_buffer_has_bounded_memory():
    buffer = LatencyBuffer()
    tracemalloc.start()
    try:
        for number in range(100_000):
            buffer.add(number % 2_000)
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert allocated < 500_000
    assert buffer.histogram() == Histogram.of(list(range(2_000)) * 50)


def test_empty_histogram_has_no_values() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.min, histogram.mean, histogram.max) == (0, None, None, None)
    assert histogram.percentiles([50.0]) == {50.0: None}


def test_recognized_responses_count_like_the_parsed_one() -> None:
    recorder = Recorder()
    recorder.received(100)
    recorder.success(200, 7, 100)
    recorder.recognize_as(200, 100)
    recorder.service += [5, 5]
    recorder.received(40)
    recorder.success(304, 9, 40)
    recorder.recognize_as(304, 40)
    recorder.service += [5]
    recorder.failure("status", 404)
    recorder.failure("timeout")
    service = Histogram.of([7, 5, 5, 5, 9])
    assert recorder.take(at_s=3) == Summary(
        service=service,
        series=TimeSeries(intervals=PackedIntervals({3: Interval(5, 2, 380, service)})),
        status=Counter({200: 3, 304: 2, 404: 1}),
        failures=Counter({"status": 1, "timeout": 1}),
        sizes=Histogram.of([100, 100, 100, 40, 40]),
        bytes_received=380,
    )
    assert recorder.take() == Summary()


def test_taken_summary_does_not_change() -> None:
    recorder = Recorder()
    append = recorder.service.append
    recorder.recognize_as(200, 10)
    append(1)
    taken = recorder.take()
    append(2)
    recorder.failure("reset")
    assert taken == Summary(
        service=Histogram.of([1]),
        series=TimeSeries(intervals=PackedIntervals({0: Interval(1, 0, 10, Histogram.of([1]))})),
        status=Counter({200: 1}),
        sizes=Histogram.of([10]),
        bytes_received=10,
    )
    assert recorder.take().service == Histogram.of([2])
