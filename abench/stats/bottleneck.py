"""What limited a run, the evidence for it, and what to try next: the end of every report.

Rules are tried in order; the first that applies decides. Evidence that matters to more than one
rule is listed whichever rule applied. What to try next is beside each rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from abench.stats import (
    client_limits,
    failure_limits,
    network_limits,
    scenario_limits,
    schedule_limits,
    server_limits,
)
from abench.stats.evidence import list_evidence
from abench.stats.figure import Figure
from abench.stats.finding import Rule
from abench.stats.results import Results

LIMITERS = (
    *("server", "client", "loop-lag", "ports", "open-files", "network", "silence", "errors"),
    *("schedule", "latency", "unclear"),
    *("backlog", "concurrency", "disk", "growth", "keep-alive", "rate-limit"),  # since ADR 72
)


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limited a run, how certain that is, and what to try next."""

    limiter: Annotated[
        str,
        Figure(
            "Bottleneck",
            "The bottleneck in one word, for programs.",
            schema={"enum": list(LIMITERS)},
        ),
    ]
    sentence: Annotated[str, Figure("Sentence", "The same as a sentence.")]
    confidence: Annotated[
        str,
        Figure(
            "Confidence",
            "How sure that is.",
            key="sure",
            schema={"enum": ["sure", "likely", "unclear"]},
        ),
    ]
    evidence: Annotated[
        tuple[str, ...], Figure("Evidence", "What was measured, a line for each fact.")
    ]
    advice: Annotated[
        tuple[str, ...],
        Figure("Advice", "What to try next, a line for each step.", later=True),
    ] = ()

    @property
    def is_bad(self) -> bool:
        """Whether the server did not work during the run."""
        return self.limiter in {"errors", "silence", "rate-limit"}


RULES: tuple[Rule, ...] = (
    client_limits.find_missing_ports,
    client_limits.find_missing_files,
    scenario_limits.find_no_requests,
    failure_limits.find_silence,
    failure_limits.find_rate_limit,
    failure_limits.find_errors,
    scenario_limits.find_broken_paths,
    client_limits.find_busy_client,
    client_limits.find_loop_lag,
    network_limits.find_full_backlog,
    network_limits.find_lossy_network,
    client_limits.find_pauses,
    client_limits.find_bandwidth,
    schedule_limits.find_met_rate,
    server_limits.find_growing_latency,
    server_limits.find_closed_connections,
    server_limits.find_busy_server,
    server_limits.find_slow_storage,
    scenario_limits.find_missed_paths,
    scenario_limits.find_own_pace,
    server_limits.find_queue,
    schedule_limits.find_missed_rate,
    server_limits.find_waiting_client,
)


BEHIND_A_SCHEDULE = tuple(
    rule
    for rule in RULES
    if rule not in {schedule_limits.find_met_rate, schedule_limits.find_missed_rate}
)
"""What else limits a run whose rate is known to be too high."""


def find_bottleneck(report: Results, rules: Sequence[Rule] = RULES) -> Bottleneck:
    """Return what limited the run of `report`, by the first of the rules that applies."""
    found = next(filter(None, (rule(report) for rule in rules)), None)
    found = found or server_limits.nothing_found(report)
    evidence = tuple(list_evidence(report))
    return Bottleneck(found.limiter, found.sentence, found.confidence, evidence, found.advice)
