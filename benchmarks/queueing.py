"""What queueing theory says of response times, and of the rate up to which they keep a limit."""

import math
from collections.abc import Callable


def within_in_m_d_1(rate: float, service_s: float, limit_s: float) -> float:
    """Return how likely a response of M/D/1 comes within a limit (Erlang, 1909)."""
    waited = limit_s - service_s
    if waited < 0:
        return 0.0
    terms = (
        (rate * (n * service_s - waited)) ** n
        / math.factorial(n)
        * math.exp(-rate * (n * service_s - waited))
        for n in range(int(waited / service_s) + 1)
    )
    return (1 - rate * service_s) * math.fsum(terms)


def within_in_m_m_c(rate: float, mean_s: float, servers: int, limit_s: float) -> float:
    """Return how likely a response of M/M/c comes within a limit (Erlang's formula C, 1917)."""
    load, per_server = rate * mean_s, 1 / mean_s
    busy = load**servers / math.factorial(servers) / (1 - load / servers)
    must_wait = busy / (sum(load**n / math.factorial(n) for n in range(servers)) + busy)
    spare = servers * per_server - rate
    served = math.exp(-per_server * limit_s)
    if math.isclose(spare, per_server):
        return 1 - served - must_wait * per_server * limit_s * served
    waited = (math.exp(-spare * limit_s) - served) * per_server / (per_server - spare)
    return 1 - served - must_wait * waited


def highest_rate(within: Callable[[float], float], top: float, share: float = 0.99) -> float:
    """Return the highest rate at which a share of responses comes within the limit."""
    low, high = 0.0, top * (1 - 1e-9)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) >= share else (low, middle)
    return low
