from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from abench.summary import FAILURE_KINDS, Batch, Histogram, Recorder, Summary

times = st.dictionaries(st.integers(0, 4_000_000_000), st.integers(1, 1000), max_size=20)
batches = st.builds(
    Batch,
    service=times,
    status=st.dictionaries(st.sampled_from([200, 304, 404, 500]), st.integers(1, 10)),
    failures=st.dictionaries(st.sampled_from(FAILURE_KINDS), st.integers(1, 10)),
    bytes_received=st.integers(0, 2**50),
)
shares = st.lists(batches, max_size=4)


def summary_of(share: list[Batch]) -> Summary:
    summary = Summary(standing=len(share), elapsed_ns=len(share) * 10)
    for batch in share:
        summary.add(batch)
    return summary


def merged(*shares: list[Batch]) -> str:
    first, *others = map(summary_of, shares)
    for other in others:
        first.merge(other)
    plain = Summary.decode(first.encode())
    plain.status = Counter(dict(sorted(plain.status.items())))
    plain.failures = Counter(dict(sorted(plain.failures.items())))
    return plain.encode()


@given(shares, shares)
def test_merging_is_commutative(a: list[Batch], b: list[Batch]) -> None:
    assert merged(a, b) == merged(b, a)


@given(shares, shares, shares)
def test_merging_is_associative_and_loses_nothing(
    a: list[Batch], b: list[Batch], c: list[Batch]
) -> None:
    right = summary_of(b)
    right.merge(summary_of(c))
    left = summary_of(a)
    left.merge(right)
    assert Counter(left.status) == Counter(Summary.decode(merged(a, b, c)).status)
    assert left.service.encode() == Summary.decode(merged(a, b, c)).service.encode()
    assert left.succeeded == sum(sum(batch.service.values()) for batch in [*a, *b, *c])
    assert left.failed == sum(sum(batch.failures.values()) for batch in [*a, *b, *c])


@given(shares)
def test_a_summary_survives_its_journey(share: list[Batch]) -> None:
    summary = summary_of(share)
    assert Summary.decode(summary.encode()).encode() == summary.encode()


@given(st.lists(st.integers(0, 3_000_000_000), min_size=1, max_size=300))
def test_percentiles_are_within_a_thousandth(values: list[int]) -> None:
    histogram = Histogram()
    histogram.record(Counter(values))
    assert (histogram.count, histogram.min, histogram.max) == (
        len(values),
        min(values),
        max(values),
    )
    assert histogram.mean == sum(values) / len(values)
    for percent, found in histogram.percentiles([50.0, 90.0, 99.0, 100.0]).items():
        rank = max(int(percent * len(values) / 100 + 0.5), 1)
        true = sorted(values)[rank - 1]
        assert found is not None
        assert true <= found <= true * 1.001 + 1


def test_an_empty_histogram_has_no_figures() -> None:
    histogram = Histogram()
    assert (histogram.count, histogram.min, histogram.mean, histogram.max) == (0, None, None, None)
    assert histogram.percentiles([50.0]) == {50.0: None}


def test_recognised_replies_count_as_the_reply_they_are_like() -> None:
    recorder = Recorder()
    recorder.received(100)
    recorder.success(200, 7)
    recorder.expect(200, 100)
    recorder.service += [5, 5]
    recorder.received(40)
    recorder.success(304, 9)
    recorder.expect(304, 40)
    recorder.service += [5]
    recorder.failure("status", 404)
    recorder.failure("timeout")
    assert recorder.take() == Batch(
        service={7: 1, 5: 3, 9: 1},
        status={200: 3, 304: 2, 404: 1},
        failures={"status": 1, "timeout": 1},
        bytes_received=380,
    )
    assert recorder.take() == Batch({}, {}, {}, 0)


def test_taking_a_batch_keeps_what_is_expected() -> None:
    recorder = Recorder()
    append = recorder.service.append
    recorder.expect(200, 10)
    append(1)
    recorder.take()
    append(2)
    assert recorder.take() == Batch({2: 1}, {200: 1}, {}, 10)
