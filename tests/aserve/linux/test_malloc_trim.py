import pytest

from aserve.linux import malloc_trim
from aserve.linux.malloc_trim import HeapTrimmer


@pytest.fixture
def trims(monkeypatch):
    calls = []
    monkeypatch.setattr(malloc_trim, "_trim", calls.append)
    return calls


def test_the_heap_is_trimmed_each_time_three_of_four_connections_have_closed(trims):
    trimmer = HeapTrimmer()
    trimmed = [trimmer.update(count) for count in (10, 10_000, 2_501, 2_500, 700, 625, 0)]
    assert trimmed == [False, False, False, True, False, True, False]
    assert trims == [0, 0]


def test_each_peak_counts(trims):
    trimmer = HeapTrimmer()
    for connections in (1_000, 0, 1_000, 0):
        trimmer.update(connections)
    assert len(trims) == 2


def test_few_connections_leave_nothing_worth_a_pause(trims):
    trimmer = HeapTrimmer()
    for connections in (999, 0, 999, 0):
        trimmer.update(connections)
    assert not trims


def test_a_system_without_malloc_trim_does_without(monkeypatch):
    monkeypatch.setattr(malloc_trim, "_trim", None)
    trimmer = HeapTrimmer()
    trimmer.update(1_000)
    assert trimmer.update(0)
