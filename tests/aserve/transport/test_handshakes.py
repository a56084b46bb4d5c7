"""Steps that take the processor's time: a few in each turn, in their order."""

import logging

from aserve.transport.eventloop.handshakes import Handshakes
from aserve.transport.turns import MAX_TURN_S


class FakeLoop:
    """Calls what is scheduled when a turn is asked for."""

    def __init__(self):
        self.scheduled = []

    def call_soon(self, call):
        self.scheduled.append(call)

    def turn(self):
        calls, self.scheduled = self.scheduled, []
        for call in calls:
            call()


class Steps:
    """Steps that take a part of a turn each."""

    def __init__(self, parts):
        self.now, self.done = 0.0, []
        self._duration = MAX_TURN_S * parts
        self.loop = FakeLoop()
        self.handshakes = Handshakes(self.loop, lambda: self.now)

    def take(self, number):
        def step():
            self.now += self._duration
            self.done.append(number)

        return self.handshakes.take(step)


def test_a_turn_takes_what_fits_and_the_next_ones_take_the_rest_in_order():
    steps = Steps(0.4)
    assert [steps.take(number) for number in range(8)] == [True] * 3 + [False] * 5
    assert steps.done == [0, 1, 2]
    steps.loop.turn()
    assert steps.done == [0, 1, 2, 3, 4, 5]
    assert not steps.take(8)  # those that came before it still wait
    steps.loop.turn()
    assert steps.done == list(range(9))
    steps.loop.turn()
    assert not steps.loop.scheduled  # an idle server schedules nothing


def test_a_step_that_is_longer_than_a_turn_is_taken_alone():
    steps = Steps(5)
    assert [steps.take(number) for number in range(3)] == [True, False, False]
    for done in (2, 3):
        steps.loop.turn()
        assert len(steps.done) == done


def test_a_step_that_fails_stops_no_other(caplog):
    steps = Steps(1)

    def fail():
        raise RuntimeError("broken")

    caplog.set_level(logging.ERROR)
    assert steps.handshakes.take(fail)
    steps.take(1)
    steps.handshakes.take(fail)
    steps.take(2)
    for _ in range(3):
        steps.loop.turn()
    assert steps.done == [1, 2]
    assert [line.partition(" (")[0] for line in caplog.messages] == [
        "internal error: RuntimeError('broken')"
    ] * 2
