import pytest

from aserve.models import heap
from aserve.models.heap import Heap


@pytest.fixture
def given_back(monkeypatch):
    calls = []
    monkeypatch.setattr(heap, "_trim", calls.append)
    return calls


def test_memory_is_given_back_each_time_three_of_four_have_left(given_back):
    tended = Heap()
    told = [tended.crowd(connections) for connections in (10, 10_000, 2_501, 2_500, 700, 625, 0)]
    assert told == [False, False, False, True, False, True, False]
    assert given_back == [0, 0]


def test_each_crowd_counts(given_back):
    tended = Heap()
    for connections in (1_000, 0, 1_000, 0):
        tended.crowd(connections)
    assert len(given_back) == 2


def test_few_connections_leave_nothing_worth_a_pause(given_back):
    tended = Heap()
    for connections in (999, 0, 999, 0):
        tended.crowd(connections)
    assert not given_back


def test_a_system_without_the_call_goes_without(monkeypatch):
    monkeypatch.setattr(heap, "_trim", None)
    tended = Heap()
    tended.crowd(1_000)
    assert tended.crowd(0)
