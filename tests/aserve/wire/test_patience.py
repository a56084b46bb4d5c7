import pytest

from aserve.wire.limits import Limits
from aserve.wire.patience import Patience
from aserve.wire.states import State

LIMITS = Limits(head_time=3, idle_time=5, linger_time=2, stall_time=4, least_rate=100)


def ticks_until_over(state, arrived=0, left=0, stuck=False):
    """Count ticks; arrived and left are octets a tick."""
    patience = Patience(LIMITS)
    for tick in range(1, 50):
        if patience.is_over(state, arrived * tick, left * tick, stuck=stuck):
            return tick - 1  # the first one only notices the state, save for IDLE
    return None


@pytest.mark.parametrize(
    ("state", "ticks"),
    [
        (State.IDLE, 4),
        (State.HEAD, 3),
        (State.LINGERING, 2),
        (State.ANSWERING, None),
        (State.REPLYING, None),
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
    assert ticks_until_over(State.REPLYING, left=rate, stuck=True) == ticks


def test_what_is_completed_renews_it():
    patience = Patience(LIMITS)
    for _ in range(20):
        assert not patience.is_over(State.IDLE, 0, 0, stuck=False)
        patience.renew()


@pytest.mark.parametrize(
    ("limit", "state", "stuck"),
    [
        ("stall_time", State.REPLYING, True),
        ("stall_time", State.BODY, False),
        ("least_rate", State.REPLYING, True),
        ("idle_time", State.IDLE, False),
        ("head_time", State.HEAD, False),
    ],
)
def test_what_is_switched_off_is_never_over(limit, state, stuck):
    patience = Patience(Limits(**{limit: 0}))
    assert not any(patience.is_over(state, 0, 0, stuck=stuck) for _ in range(1_000))


def test_a_download_may_rest_for_a_minute():
    patience = Patience(Limits())
    over = [patience.is_over(State.REPLYING, 0, 5, stuck=True) for _ in range(61)]
    assert over == [False] * 60 + [True]
