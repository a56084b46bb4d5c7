from hypothesis import given
from hypothesis import strategies as st

from abench.pacing import ClosedLoop


@given(st.integers(1, 10**6))
def test_pauses_grow_and_are_bounded(misses: int) -> None:
    pacing = ClosedLoop()
    assert pacing.first_pause_s <= pacing.pause(misses) <= pacing.longest_pause_s
    assert pacing.pause(misses) <= pacing.pause(misses + 1)


def test_the_first_pause_is_short() -> None:
    assert ClosedLoop(0.5, 8).pause(1) == 0.5
    assert ClosedLoop(0.5, 8).pause(3) == 2
