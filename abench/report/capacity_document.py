"""What a search for a server's capacity has found, as a JSON document.

docs/abench-capacity.schema.json describes it. Within a schema number, keys are only added.
"""

import json
from typing import Any, TextIO

from abench.report.capacity_text import sentences
from abench.stats.capacity import Capacity, Outcome, Step
from abench.stats.capacity_search import CONFIDENCE
from abench.stats.environment import Environment

SCHEMA = "abench-capacity-1"


def to_document(found: Capacity, environment: Environment) -> dict[str, Any]:
    """Return it as JSON data."""
    is_known = found.outcome in {Outcome.FOUND, Outcome.CLIENT}
    interval = found.interval if is_known else None
    return {
        "schema": SCHEMA,
        "environment": {
            "command": list(environment.command),
            "started_at": environment.started_at,
            "versions": environment.versions,
            "machine": environment.machine,
        },
        "url": found.url,
        "objectives": list(found.objectives),
        "arrivals": found.arrivals,
        "outcome": found.outcome.value,
        "capacity_per_sec": interval and interval.middle,
        "interval_per_sec": interval and {"low": interval.low, "high": interval.high},
        "at_least_per_sec": found.at_least,
        "confidence": CONFIDENCE,
        "end": found.end.value,
        "stopped_by_signal": found.stopped_by,
        "problem": found.problem or None,
        "sentences": sentences(found),
        "limiter": found.why.cause.limiter if found.why else None,
        "knee_per_sec": found.knee.offered if found.knee else None,
        "closed_loop_per_sec": found.closed_loop_per_sec,
        "client_per_sec": found.client_per_sec,
        "steps": [_step(step) for step in found.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "offered_per_sec": step.offered,
        "achieved_per_sec": step.achieved,
        "pages_per_sec": step.pages_per_sec,
        "duration_s": step.duration_s,
        "connections": step.connections,
        "mean_us": step.mean_us,
        "p50_us": step.p50_us,
        "p99_us": step.p99_us,
        "error_share": step.error_share,
        "held": step.held,
        "broken": list(step.broken),
        "limiter": step.cause.limiter,
        "client_cores": step.cause.client_cores,
        "server_cores": step.cause.server_cores,
    }


def write_json(found: Capacity, environment: Environment, stream: TextIO) -> None:
    """Write it to `stream` as one JSON object."""
    json.dump(to_document(found, environment), stream, indent=2)
    stream.write("\n")
