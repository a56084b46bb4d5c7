"""Timeouts of a connection, in ticks of one second: one sweep for all, no timer for each."""

from aserve.http1.limits import Limits
from aserve.http1.states import State


class Deadlines:
    """The timeouts of one connection. A client that trickles must still reach the minimum rate."""

    __slots__ = (
        "_age",
        "_limits",
        "_state",
        "_transferred",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = State.IDLE
        self._age = 0  # ticks in this state, or since the rate was last checked
        self._transferred = 0  # bytes transferred by then

    def change_limits(self, limits: Limits) -> None:
        """Apply other timeouts, to what is being waited for as well."""
        self._limits = limits

    def reset(self) -> None:
        """Restart the current timeout, after progress."""
        self._age = 0

    def expired(self, state: State, received: int, sent: int, *, is_blocked: bool) -> bool:
        """Count one tick; tell whether the client's time is up.

        received, sent: bytes in total. is_blocked: whether output waits for the client to read.
        """
        if state is not self._state:
            self._state, self._age = state, 0
            self._transferred = received if state is State.BODY else sent
            return False
        if state is State.IDLE and sent != self._transferred:  # a response was sent meanwhile
            self._age, self._transferred = 0, sent
            return False
        self._age += 1
        if is_blocked:
            return self._is_too_slow(sent)
        if state is State.BODY:
            return self._is_too_slow(received)
        return self._age >= self._timeout_in(state)

    def _is_too_slow(self, transferred: int) -> bool:
        if self._age < self._limits.transfer_timeout:
            return False
        min_size = self._limits.min_rate * self._age
        is_slow = transferred - self._transferred < min_size
        self._age, self._transferred = 0, transferred
        return is_slow

    def _timeout_in(self, state: State) -> float:
        limits = self._limits
        if state is State.IDLE:
            return limits.keepalive_timeout
        if state is State.HEAD:
            return limits.header_timeout
        if state is State.LINGERING:
            return limits.lingering_timeout
        return float("inf")  # a slow disk is not the client's fault
