"""Queues of known capacity, simulated as runs of abench: time is a number, and nothing is sent.

What a search should find is known from queueing theory: M/D/1 by Erlang's formula of 1909, M/M/c by
his formula C of 1917.
"""

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from abench.plan.plan import Plan
from abench.stats.histogram import Histogram
from abench.stats.results import Results, build_results
from abench.stats.summary import ResourceUsage, Summary

SECOND = 1_000_000_000


@dataclass
class Queue:
    """A server of which `servers` requests are served at once, and all others wait in one queue.

    As a function it carries out a plan. `now_s` is the time that its runs have taken.
    """

    servers: int
    mean_s: float
    service: Callable[[random.Random], float]
    seed: int = 0
    client_cpu: float = 0.1
    now_s: float = 0.0
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    @property
    def top(self) -> float:
        """The rate at which it is busy all the time."""
        return self.servers / self.mean_s

    def __call__(self, plan: Plan) -> Results:
        """Carry out a plan: Poisson arrivals at its rate, or a closed loop."""
        self.plans.append(plan)
        length_s = plan.duration_s or 0.0
        self.now_s += plan.warmup_s + length_s
        if plan.rate is None:
            latency_us = round(plan.connections / self.top * 1e6)
            return self.results(plan, [latency_us] * round(self.top * length_s))
        return self.results(plan, self.simulate(plan.rate, plan.warmup_s, length_s))

    def simulate(self, rate: float, warmup_s: float, length_s: float) -> list[int]:
        """Return the response times of what arrives after the warm-up, in microseconds."""
        free = [0.0] * self.servers
        at, times = self.rng.expovariate(rate), []
        while at < warmup_s + length_s:
            ready = max(at, free[0]) + self.service(self.rng)
            heapq.heapreplace(free, ready)
            if at > warmup_s:
                times.append(round((ready - at) * 1e6))
            at += self.rng.expovariate(rate)
        return times

    def results(self, plan: Plan, times_us: list[int], failed: int = 0, **more: object) -> Results:
        """Return the results of a run with these response times."""
        length_ns = round((plan.duration_s or 0.0) * SECOND)
        histogram = Histogram.of(times_us) if times_us else Histogram()
        counted = {
            "service": histogram,
            "response": histogram if plan.schedule else Histogram(),
            "status": Counter({200: len(times_us), **({503: failed} if failed else {})}),
            "failures": Counter({"status": failed} if failed else {}),
            "elapsed_ns": length_ns,
            "started": len(times_us) + failed,
            "costs": [ResourceUsage(round(self.client_cpu * length_ns), length_ns, 0, Histogram())],
        }
        return build_results(plan, Summary(**{**counted, **more}))


def m_d_1(service_s: float, seed: int = 0) -> Queue:
    """Return a queue for one server that takes the same time for each request."""
    return Queue(1, service_s, lambda _: service_s, seed)


def m_m_c(servers: int, mean_s: float, seed: int = 0) -> Queue:
    """Return a queue for several servers that take random times, exponentially distributed."""
    return Queue(servers, mean_s, lambda rng: rng.expovariate(1 / mean_s), seed)


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
