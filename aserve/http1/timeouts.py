"""How long a peer may take, told in ticks of a second: one sweep for all, no timer for each."""

from aserve.http1.limits import Limits
from aserve.http1.states import State


class Deadlines:
    """Watches one connection. Who sends or reads a little now and then still has to keep a rate."""

    __slots__ = (
        "_age",
        "_flow",
        "_limits",
        "_state",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = State.IDLE
        self._age = 0  # ticks in this state, or since its flow was last weighed
        self._flow = 0  # octets that had flowed by then

    def reset(self) -> None:
        """Note that something was completed."""
        self._age = 0

    def expired(self, state: State, received: int, sent: int, *, is_blocked: bool) -> bool:
        """Take one tick; tell whether it was the last that the peer is granted.

        arrived, left: octets received and sent in all; stuck: some wait for the peer to take them.
        """
        if state is not self._state:
            self._state, self._age = state, 0
            self._flow = received if state is State.BODY else sent
            return False
        if state is State.IDLE and sent != self._flow:  # something was answered meanwhile
            self._age, self._flow = 0, sent
            return False
        self._age += 1
        if is_blocked:
            return self._is_too_slow(sent)
        if state is State.BODY:
            return self._is_too_slow(received)
        return self._age >= self._timeout_in(state)

    def _is_too_slow(self, flow: int) -> bool:
        if self._age < self._limits.transfer_timeout:
            return False
        least = self._limits.min_rate * self._age
        slow = flow - self._flow < least
        self._age, self._flow = 0, flow
        return slow

    def _timeout_in(self, state: State) -> float:
        limits = self._limits
        if state is State.IDLE:
            return limits.keepalive_timeout
        if state is State.HEAD:
            return limits.header_timeout
        if state is State.LINGERING:
            return limits.lingering_timeout
        return float("inf")  # what the disk takes is not the peer's fault
