"""Why a step at a rate broke an objective, as the end of a sentence."""

from typing import NamedTuple

from abench.stats.bottleneck import BEHIND_A_SCHEDULE, find_bottleneck
from abench.stats.finding import BUSY, server_cores
from abench.stats.results import Results
from abench.stats.units import significant

OF_THE_CLIENT = ("client", "loop-lag", "ports", "open-files")
"""What limits abench itself: the server may hold more."""


class Cause(NamedTuple):
    """What limited a step. limiter, advice: as in the verdict of a run.

    client_cores: the share of a core that the busiest worker used; server_cores: the cores that the
    server used, None if they are unknown.
    """

    limiter: str
    sentence: str
    advice: tuple[str, ...]
    client_cores: float
    server_cores: float | None

    def because(self) -> str:
        """Return the reason as it follows "above it p99<50ms no longer holds"."""
        client, server = (_percent(cores) for cores in (self.client_cores, self.server_cores))
        if self.limiter == "server" and (self.server_cores or 0.0) > BUSY:
            return f", because the server's CPU is full (it used {server} of a core)"
        if self.limiter == "latency":
            return (
                f", although neither side's CPU is full (the server used {server} of a core, this "
                f"client {client}): requests wait for something else there, such as a lock, a "
                "pool of connections, a disk or another server"
            )
        if self.limiter == "client" and self.client_cores > BUSY:
            return f", because this client's CPU is full ({client} of a core)"
        return f". {self.sentence.removesuffix('.')}"


def _percent(cores: float | None) -> str:
    return "an unknown share" if cores is None else f"{significant(100 * cores)} %"


def find_cause(report: Results) -> Cause:
    """Return what limited a run at a rate that was too much for the server.

    Its schedule was not the limit.
    """
    found = find_bottleneck(report, BEHIND_A_SCHEDULE)
    client = max(report.client.cpu, default=0.0)
    return Cause(found.limiter, found.sentence, found.advice, client, server_cores(report))
