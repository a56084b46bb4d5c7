"""How long a peer may take, told in ticks of a second: one sweep for all, no timer for each."""

from aserve.wire.limits import Limits
from aserve.wire.states import State


class Patience:
    """Watches one connection. Who sends or reads a little now and then still has to keep a rate."""

    __slots__ = ("_age", "_flow", "_limits", "_state")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = State.IDLE
        self._age = 0  # ticks in this state, or since its flow was last weighed
        self._flow = 0  # octets that had flowed by then

    def renew(self) -> None:
        """Note that something was completed."""
        self._age = 0

    def is_over(self, state: State, arrived: int, left: int, *, stuck: bool) -> bool:
        """Take one tick; tell whether it was the last that the peer is granted.

        arrived, left: octets received and sent in all; stuck: some wait for the peer to take them.
        """
        if state is not self._state:
            self._state, self._age = state, 0
            self._flow = arrived if state is State.BODY else left
            return False
        if state is State.IDLE and left != self._flow:  # something was answered meanwhile
            self._age, self._flow = 0, left
            return False
        self._age += 1
        if stuck:
            return self._is_too_slow(left)
        if state is State.BODY:
            return self._is_too_slow(arrived)
        return self._age >= self._granted(state)

    def _is_too_slow(self, flow: int) -> bool:
        if self._age < self._limits.stall_time:
            return False
        least = self._limits.least_rate * self._age
        slow = flow - self._flow < least
        self._age, self._flow = 0, flow
        return slow

    def _granted(self, state: State) -> float:
        limits = self._limits
        if state is State.IDLE:
            return limits.idle_time
        if state is State.HEAD:
            return limits.head_time
        if state is State.LINGERING:
            return limits.linger_time
        return float("inf")  # what the disk takes is not the peer's fault
