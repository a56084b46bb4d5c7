"""The figures: what they mean, their medians and ratios, and whether a goal is met."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

TIMES = "\N{MULTIPLICATION SIGN}"

Rounds = Mapping[str, Mapping[str, list[float]]]
"""server -> figure -> its value in each round."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a number is: its heading with the unit, and whether more is better."""

    heading: str
    more_is_better: bool = False

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.more_is_better else min(values)

    def as_good(self, ratio: float, times: float) -> bool:
        """Return whether a ratio is on the good side of the one that was wanted."""
        return ratio >= times if self.more_is_better else ratio <= times


FIGURES = {
    "us": Figure("µs per request"),
    "plain_us": Figure("µs as it is"),
    "plain_times": Figure(f"{TIMES} as it is"),
    "last_byte_ms": Figure("ms to the last byte"),
    "reply_cpu_ms": Figure("processor ms per response"),
    "second_kib": Figure("KiB a second later"),
    "first_kib": Figure("KiB at first"),
    "last_kib": Figure("KiB in the end"),
    "gzip9_times": Figure(f"{TIMES} gzip 9"),
    "zstd19_times": Figure(f"{TIMES} zstd 19"),
    "brotli11_times": Figure(f"{TIMES} brotli 11"),
    "later_kib": Figure("KiB a second later"),
    "cold_kib": Figure("KiB at first"),
    "later_ms": Figure("ms a second later"),
    "cold_ms": Figure("ms at first"),
    "wire_kib": Figure("KiB on the wire"),
    "later_cpu_ms": Figure("processor ms per file, later"),
    "client_us": Figure("client µs per request"),
    "cpu_s_gb": Figure("processor s per GB"),
    "answer_s_gb": Figure("s per GB, response"),
    "on_disk_s_gb": Figure("s per GB, on disk"),
    "mb_s": Figure("MB/s", more_is_better=True),
    "dd_times": Figure(f"speed, {TIMES} dd", more_is_better=True),
    "rate": Figure("requests/s", more_is_better=True),
    "p99_ms": Figure("p99, ms"),
    "logged": Figure("log lines per request", more_is_better=True),
    "first_ms": Figure("ms to the first page"),
    "first_times": Figure(f"{TIMES} reading and sorting names"),
    "again_ms": Figure("ms to it again"),
    "page_cpu_ms": Figure("processor ms, again"),
    "page_kib": Figure("KiB of the page"),
    "slow_kib_each": Figure("KiB per download"),
    "cpu_ms_s": Figure("processor ms per s"),
    "slow_mb_s": Figure("MB/s", more_is_better=True),
    "starved": Figure("reads without data"),
    "kib_each": Figure("KiB per connection"),
    "large_kib_each": Figure("KiB after 100 KB"),
    "burst_ms": Figure("longest beside handshakes, ms"),
    "alone_ms": Figure("ms without them"),
    "held": Figure("connections", more_is_better=True),
    "open_s": Figure("s to open them"),
    "p99_times": Figure(f"p99, {TIMES} that without them"),
    "p99_alone_ms": Figure("p99 without them, ms"),
    "p99_beside_ms": Figure("p99 beside them, ms"),
    "p99_many_ms": Figure("p99 beside 10 KB, ms"),
    "p99_large_ms": Figure("p99 beside large, ms"),
    "max_alone_ms": Figure("longest without them, ms"),
    "max_beside_ms": Figure("longest beside them, ms"),
    "held_p99_ms": Figure("p99 of held by the server, ms"),
    "held_max_ms": Figure("longest held by the server, ms"),
    "max_many_ms": Figure("longest beside 10 KB, ms"),
    "max_large_ms": Figure("longest beside large, ms"),
    "before_mib": Figure("MiB before"),
    "after_mib": Figure("MiB after they closed"),
    "client_mib": Figure("MiB of the client"),
    "start_ms": Figure("ms to the first response"),
    "resident_mib": Figure("MiB resident, idle"),
}
"""Every figure, in the order in which tables show them; the first of a work is its main one."""


def medians(rounds: Rounds, figure: str) -> dict[str, float]:
    """Return the median over the rounds, for each server that has the figure."""
    return {name: median(found[figure]) for name, found in rounds.items() if found.get(figure)}


def shown(value: float) -> str:
    """Return a number with three digits that count, or all before the point."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


@dataclass(frozen=True, slots=True)
class Goal:
    """A server's figure is to be at most (a rate: at least) so many times the best of others.

    Without others the figure itself is to be so much: one that is a ratio in itself.
    """

    times: float
    against: tuple[str, ...]
    figure: str = "us"
    of: str = "aserve"

    def __str__(self) -> str:
        """Say what is wanted."""
        sign = "≥" if FIGURES[self.figure].more_is_better else "≤"
        wanted = f"{FIGURES[self.figure].heading} {sign} {self.times:.2f}"
        if not self.against:
            return wanted
        who = self.against[0] if len(self.against) == 1 else f"best of {', '.join(self.against)}"
        return f"{wanted} {TIMES} {who}"

    def judge(self, rounds: Rounds) -> "Verdict | None":
        """Return what was found, or None where one side was not measured."""
        found, figure = medians(rounds, self.figure), FIGURES[self.figure]
        others = {name: found[name] for name in self.against if name in found}
        if self.of not in found or (self.against and not others):
            return None
        best = figure.best(others.values()) if others else 1
        peer = next((name for name, value in others.items() if value == best), "")
        ratio = found[self.of] / best
        return Verdict(ratio, peer, figure.as_good(round(ratio, 2), self.times))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ratio that was found, to which peer if to one, and whether that meets the goal."""

    ratio: float
    peer: str
    met: bool

    def __str__(self) -> str:
        """Say what was found."""
        return f"{self.ratio:.2f} {TIMES} {self.peer}" if self.peer else f"{self.ratio:.2f}"
