import pytest

from aserve.http1.limits import Limits
from aserve.http1.states import State
from aserve.http1.timeouts import Deadlines

LIMITS = Limits(
    header_timeout=3, keepalive_timeout=5, lingering_timeout=2, transfer_timeout=4, min_rate=100
)


def ticks_until_over(state, arrived=0, left=0, stuck=False):
    """Count ticks; arrived and left are octets a tick."""
    patience = Deadlines(LIMITS)
    for tick in range(1, 50):
        if patience.expired(state, arrived * tick, left * tick, is_blocked=stuck):
            return tick - 1  # the first one only notices the state, save for IDLE
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
def test_each_state_has_its_time(state, ticks):
    assert ticks_until_over(state) == ticks


def test_a_head_gets_no_more_time_for_trickling():
    assert ticks_until_over(State.HEAD, arrived=10) == 3


@pytest.mark.parametrize(("rate", "ticks"), [(0, 4), (99, 4), (100, None), (1_000, None)])
def test_content_must_keep_a_rate(rate, ticks):
    assert ticks_until_over(State.BODY, arrived=rate) == ticks


@pytest.mark.parametrize(("rate", "ticks"), [(0, 4), (99, 4), (100, None)])
def test_a_waiting_reply_must_be_read_at_a_rate(rate, ticks):
    assert ticks_until_over(State.SENDING, left=rate, stuck=True) == ticks


def test_what_is_completed_renews_it():
    patience = Deadlines(LIMITS)
    for _ in range(20):
        assert not patience.expired(State.IDLE, 0, 0, is_blocked=False)
        patience.reset()


@pytest.mark.parametrize(
    ("limit", "state", "stuck"),
    [
        ("transfer_timeout", State.SENDING, True),
        ("transfer_timeout", State.BODY, False),
        ("min_rate", State.SENDING, True),
        ("keepalive_timeout", State.IDLE, False),
        ("header_timeout", State.HEAD, False),
    ],
)
def test_what_is_switched_off_is_never_over(limit, state, stuck):
    patience = Deadlines(Limits(**{limit: 0}))
    assert not any(patience.expired(state, 0, 0, is_blocked=stuck) for _ in range(1_000))


def test_a_download_may_rest_for_a_minute():
    patience = Deadlines(Limits())
    over = [patience.expired(State.SENDING, 0, 5, is_blocked=True) for _ in range(61)]
    assert over == [False] * 60 + [True]
