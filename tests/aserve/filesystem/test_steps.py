"""Work in steps: pauses, and turns of the threads that compute."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from aserve.filesystem import steps
from aserve.filesystem.steps import Turns, in_steps, taken

WAIT_S = 30.0
"""Until a test fails that would otherwise hang."""


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_work_pauses_between_steps_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(steps, "_MAX_STEP_S", 2.0)
    clock = iter([0.0, 1.0, 3.0, 0.0, 1.0, 2.0])
    monkeypatch.setattr(steps, "sleep", lambda _: done.append("pause"))
    for item in in_steps("abcdefg", 2, clock=lambda: next(clock)):
        done += item
    assert "".join(done) == "abcdpauseefg"


def test_a_list_is_taken_in_its_order_and_empty_behind_it() -> None:
    items = [1, 2, 3]
    assert list(taken(items)) == [1, 2, 3]
    assert not items


def test_one_thread_at_a_time_has_its_turn(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, inside, numbers = Turns(Clock()), [], count()
    monkeypatch.setattr(steps, "sleep", lambda _: None)

    def compute() -> None:
        with turns:
            for _ in range(20):
                number = next(numbers)
                inside.append(number)
                assert inside == [number]
                inside.remove(number)
                turns.pause()

    for thread in [pool.submit(compute) for _ in range(4)]:
        thread.result(WAIT_S)
    assert next(numbers) == 80


def test_the_next_thread_has_its_turn_in_a_pause(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, entered = Turns(Clock()), threading.Event()
    monkeypatch.setattr(steps, "sleep", lambda _: entered.wait(WAIT_S))

    def compute() -> None:
        with turns:
            entered.set()

    with turns:
        other = pool.submit(compute)
        turns.pause()
        assert entered.is_set()
    other.result(WAIT_S)


def test_a_thread_that_a_disk_holds_up_is_passed_over(pool: ThreadPoolExecutor) -> None:
    clock = Clock()
    turns = Turns(clock)

    def compute() -> str:
        with turns:
            return "computed"

    with turns:
        clock.now = 1.0
        assert pool.submit(compute).result(WAIT_S) == "computed"
        assert pool.submit(compute).result(WAIT_S) == "computed"
        turns.pause()
    assert pool.submit(compute).result(WAIT_S) == "computed"


def test_a_block_inside_another_has_the_same_turn(pool: ThreadPoolExecutor) -> None:
    turns, entered = Turns(Clock()), threading.Event()

    def compute() -> None:
        with turns:
            entered.set()

    with turns:
        with turns:
            other = pool.submit(compute)
        assert not entered.is_set()
    other.result(WAIT_S)


def test_a_thread_does_without_its_turn_while_it_waits_for_a_lock(pool: ThreadPoolExecutor) -> None:
    turns, lock, waits = Turns(Clock()), threading.Lock(), threading.Event()

    def wait_for_lock() -> None:
        with turns:
            waits.set()
            with turns.waiting_for(lock):
                assert lock.locked()

    with lock:
        waiting = pool.submit(wait_for_lock)
        assert waits.wait(WAIT_S)
        with turns:  # which hangs unless the other thread has given its turn away
            pass
    waiting.result(WAIT_S)
    assert not lock.locked()


def test_without_turns_a_lock_is_held_as_usual() -> None:
    lock = threading.Lock()
    with Turns().waiting_for(lock):
        assert lock.locked()
    assert not lock.locked()
