"""Queues of known capacity, simulated as runs of abench: time is a number, and nothing is sent.

What a search should find is known from queueing theory: benchmarks/queueing.py has the formulas.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from abench.plan.plan import Plan
from abench.plan.schedule import ArrivalSchedule
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
        """Carry out a plan: with the arrivals of its schedule, or as a closed loop."""
        self.plans.append(plan)
        length_s = plan.duration_s or 0.0
        self.now_s += plan.warmup_s + length_s
        if plan.schedule is None:
            latency_us = round(plan.connections / self.top * 1e6)
            return self.results(plan, [latency_us] * round(self.top * length_s))
        return self.results(plan, self.simulate(plan.schedule, plan.warmup_s, length_s))

    def simulate(self, due: ArrivalSchedule, warmup_s: float, length_s: float) -> list[int]:
        """Return the response times of what arrives after the warm-up, in microseconds."""
        free = [0.0] * self.servers
        times = []
        for _, due_ns in due.times():
            at = due_ns / SECOND
            if at >= warmup_s + length_s:
                break
            ready = max(at, free[0]) + self.service(self.rng)
            heapq.heapreplace(free, ready)
            if at > warmup_s:
                times.append(round((ready - at) * 1e6))
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
