"""The steps of TLS handshakes, a few in each turn of the loop.

A step is the processor's work alone: signing and key exchange take 0.3 ms with P-256, and several
with RSA of 4,096 bits. When 200 clients come at once, all others would wait for all of them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from aserve.transport.internal_errors import log_internal_error
from aserve.transport.turns import MAX_TURN_S

Step = Callable[[], None]


class Handshakes:
    """Takes steps of handshakes in the order in which they come, for MAX_TURN_S in each turn.

    clock: returns seconds that only grow.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._turn_end: float | None = None  # None where no step was taken in this turn
        self._waiting: deque[Step] = deque()

    def take(self, step: Step) -> bool:
        """Take a step, in a later turn if this one has had enough. Return whether it was taken."""
        if self._turn_end is None:
            self._begin_turn()
        elif self._waiting or self._clock() >= self._turn_end:
            self._waiting.append(step)
            return False
        _isolated(step)
        return True

    def _begin_turn(self) -> float:
        self._turn_end = turn_end = self._clock() + MAX_TURN_S
        self._loop.call_soon(self._next_turn)
        return turn_end

    def _next_turn(self) -> None:
        """Go on with the steps that wait; all other connections have had their turn."""
        self._turn_end = None
        if not self._waiting:
            return
        turn_end = self._begin_turn()
        _isolated(self._waiting.popleft())
        while self._waiting and self._clock() < turn_end:
            _isolated(self._waiting.popleft())


def _isolated(step: Step) -> None:
    try:
        step()
    except Exception as error:  # noqa: BLE001 - it is that connection's alone
        log_internal_error(error, "-")
