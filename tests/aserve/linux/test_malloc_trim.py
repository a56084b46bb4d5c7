import pytest

from aserve.linux import malloc_trim
from aserve.linux.malloc_trim import HeapTrimmer


@pytest.fixture
def given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(malloc_trim, "_trim", calls.append)
    return calls


def test_memory_is_given_back_each_time_three_of_four_have_left(given_back):
    tended = HeapTrimmer()
    told = [tended.update(connections) for connections in (10, 10_000, 2_501, 2_500, 700, 625, 0)]
    assert told == [False, False, False, True, False, True, False]
    assert given_back == [0, 0]


def test_each_crowd_counts(given_back):
    tended = HeapTrimmer()
    for connections in (1_000, 0, 1_000, 0):
        tended.update(connections)
    assert len(given_back) == 2


def test_few_connections_leave_nothing_worth_a_pause(given_back):
    tended = HeapTrimmer()
    for connections in (999, 0, 999, 0):
        tended.update(connections)
    assert not given_back


def test_a_system_without_the_call_goes_without(monkeypatch):
    monkeypatch.setattr(malloc_trim, "_trim", None)
    tended = HeapTrimmer()
    tended.update(1_000)
    assert tended.update(0)
