"""What a rule finds to have limited a run, and what is known of its load."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from abench.stats.results import Results

BUSY = 0.9  # of a core: an event loop needs the rest to sleep and wake up
IDLE = 0.6  # of a core


@dataclass(frozen=True, slots=True)
class Finding:
    """A limiter, how sure that is, the sentence that says it, and what to try next."""

    limiter: str
    confidence: str
    sentence: str
    advice: tuple[str, ...] = ()


Rule = Callable[[Results], Finding | None]


def requests_in_flight(report: Results) -> float:
    """Return how many requests were in flight on average, by Little's law."""
    return report.pages_per_sec * (report.service.mean or 0.0) / 1e6


def busy_connections(report: Results) -> float:
    """Return the average share of busy connections."""
    return requests_in_flight(report) / report.plan.connections


def connections_opened(report: Results) -> int:
    """Return how many connections were opened while the clock ran."""
    return report.phases.connect.count if report.phases.connect else 0


def client_demand(report: Results, unknown: float = 0.0) -> float:
    """Return the share of a core that the busiest worker used, or was ready to use."""
    return max(report.client.demand, default=unknown)


def server_cores(report: Results) -> float | None:
    """Return how many cores the server used; None if it was not watched."""
    return None if report.server is None else _share(report.server.cpu_s, report)


def _share(seconds: float, report: Results) -> float:
    """Return a time of the server's as a share of the time that it was watched.

    That is the warm-up as well, whose processor time cannot be told from that of the rest.
    """
    watched_s = report.duration_s + (report.warmup.duration_s if report.warmup else 0.0)
    return seconds / watched_s if watched_s else 0.0


def server_demand(report: Results) -> float | None:
    """Return the cores that the server used, or if it is more, those its busiest thread wanted.

    A thread that is ready to run and gets no core would use one: on a machine with other work, a
    server whose CPU is the limit uses only a part of it.
    """
    cores = server_cores(report)
    if cores is None or report.server is None:
        return None
    return max(cores, _share(report.server.busiest_thread_s or 0.0, report))


def both_are_idle(report: Results) -> bool:
    """Whether the server was watched, and neither side had much to compute."""
    demand = server_demand(report)
    return demand is not None and demand < IDLE and client_demand(report) < IDLE


def server_processes(report: Results) -> str:
    """Return how a shell finds the server's processes: by its port, on its machine."""
    if report.plan.route.unix is not None:
        return "PID"
    return f"$(lsof -ti tcp:{report.plan.target.port} -s tcp:listen)"


def quoted_url(report: Results) -> str:
    """Return the first URL of the run as a word of a shell command."""
    return shlex.quote(report.plan.target.url)
