import pytest

from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines

LIMITS = Limits(
    header_timeout=3, keepalive_timeout=5, lingering_timeout=2, transfer_timeout=4, min_rate=100
)


def ticks_until_expired(state, received=0, sent=0, is_blocked=False):
    """Count ticks; received and sent are bytes per tick."""
    deadlines = Deadlines(LIMITS)
    for tick in range(1, 50):
        if deadlines.expired(state, received * tick, sent * tick, is_blocked=is_blocked):
            return tick - 1  # the first one only notes the state, except for IDLE
    return None


@pytest.mark.parametrize(
    ("state", "ticks"),
    [
        (State.IDLE, 4),
        (State.HEAD, 3),
        (State.LINGERING, 2),
        (State.HANDLING, None),
        (State.SENDING, None),
        (State.CLOSED, None),
    ],
)
def test_each_state_has_its_timeout(state, ticks):
    assert ticks_until_expired(state) == ticks


def test_a_head_that_trickles_gets_no_more_time():
    assert ticks_until_expired(State.HEAD, received=10) == 3


@pytest.mark.parametrize(("rate", "ticks"), [(0, 4), (99, 4), (100, None), (1_000, None)])
def test_a_body_must_arrive_at_the_minimum_rate(rate, ticks):
    assert ticks_until_expired(State.BODY, received=rate) == ticks


@pytest.mark.parametrize(("rate", "ticks"), [(0, 4), (99, 4), (100, None)])
def test_a_blocked_response_must_be_read_at_the_minimum_rate(rate, ticks):
    assert ticks_until_expired(State.SENDING, sent=rate, is_blocked=True) == ticks


def test_reset_restarts_the_timeout():
    deadlines = Deadlines(LIMITS)
    for _ in range(20):
        assert not deadlines.expired(State.IDLE, 0, 0, is_blocked=False)
        deadlines.reset()


@pytest.mark.parametrize(
    ("limit", "state", "is_blocked"),
    [
        ("transfer_timeout", State.SENDING, True),
        ("transfer_timeout", State.BODY, False),
        ("min_rate", State.SENDING, True),
        ("keepalive_timeout", State.IDLE, False),
        ("header_timeout", State.HEAD, False),
    ],
)
def test_an_unlimited_timeout_never_expires(limit, state, is_blocked):
    deadlines = Deadlines(Limits(**{limit: 0}))
    assert not any(deadlines.expired(state, 0, 0, is_blocked=is_blocked) for _ in range(1_000))


def test_a_download_may_pause_for_a_minute():
    deadlines = Deadlines(Limits())
    expired = [deadlines.expired(State.SENDING, 0, 5, is_blocked=True) for _ in range(61)]
    assert expired == [False] * 60 + [True]
