"""Why a step at a rate broke an objective, as the end of a sentence."""

from dataclasses import replace
from typing import NamedTuple

from abench.stats.bottleneck import find_bottleneck
from abench.stats.results import Results
from abench.stats.units import significant

OF_THE_CLIENT = ("client", "loop-lag", "ports", "open-files")
"""What limits abench itself: the server may hold more."""


class Cause(NamedTuple):
    """What limited a step. limiter: as in the verdict of a run.

    client_cores: the share of a core that the busiest worker used; server_cores: the cores that the
    server used, None if they are unknown.
    """

    limiter: str
    sentence: str
    client_cores: float
    server_cores: float | None

    def because(self) -> str:
        """Return the reason as it follows "above it p99<50ms no longer holds"."""
        client, server = (_percent(cores) for cores in (self.client_cores, self.server_cores))
        if self.limiter == "server" and self.server_cores is not None:
            return f", because the server's CPU is full (it used {server} of a core)"
        if self.limiter == "latency":
            return (
                f", although neither side's CPU is full (the server used {server} of a core, this "
                f"client {client}): requests wait for something else there, such as a lock, a "
                "pool of connections, a disk or another server"
            )
        if self.limiter == "client":
            return f", because this client's CPU is full ({client} of a core)"
        return f". {self.sentence.removesuffix('.')}"


def _percent(cores: float | None) -> str:
    return "an unknown share" if cores is None else f"{significant(100 * cores)} %"


def find_cause(report: Results) -> Cause:
    """Return what limited a run with a schedule that was too much for the server.

    Its schedule was not the limit, so the verdict is that of the same run without one. The
    server's CPU time is of the warm-up as well.
    """
    warmup_s = report.warmup.duration_s if report.warmup else 0.0
    whole_s = report.duration_s + warmup_s
    server = report.server
    if server and whole_s:
        server = replace(server, cpu_s=server.cpu_s * report.duration_s / whole_s)
    found = find_bottleneck(replace(report, schedule=None, server=server))
    cores = server.cpu_s / report.duration_s if server and report.duration_s else None
    return Cause(found.limiter, found.sentence, max(report.client.cpu, default=0.0), cores)
