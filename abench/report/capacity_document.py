"""What a search for a server's capacity has found, as a JSON document.

docs/abench-capacity.schema.json describes it. Within a schema number, keys are only added.
"""

import json
import math
from typing import Any, TextIO

from abench.report import capacity_text, scaling_text
from abench.stats.capacity import Capacity, Step
from abench.stats.capacity_cause import Cause
from abench.stats.capacity_search import CONFIDENCE, Interval
from abench.stats.environment import Environment
from abench.stats.scaling import Point, Scaling

SCHEMA = "abench-capacity-1"


def to_document(found: Capacity | Scaling, environment: Environment) -> dict[str, Any]:
    """Return it as JSON data."""
    return {
        "schema": SCHEMA,
        "by": "rate" if isinstance(found, Capacity) else "connections",
        "environment": {
            "command": list(environment.command),
            "started_at": environment.started_at,
            "versions": environment.versions,
            "machine": environment.machine,
        },
        "url": found.url,
        "objectives": list(found.objectives),
        **(_capacity(found) if isinstance(found, Capacity) else _scaling(found)),
        "confidence": CONFIDENCE,
        "end": found.end.value,
        "stopped_by_signal": found.stopped_by,
        "problem": found.problem or None,
        "client_per_sec": found.client_per_sec,
    }


def _capacity(found: Capacity) -> dict[str, Any]:
    return {
        "arrivals": found.arrivals,
        "outcome": found.outcome.value,
        **_answer(found.interval if found.is_known else None),
        "at_least_per_sec": found.at_least,
        "limiter": found.why.cause.limiter if found.why else None,
        "knee_per_sec": found.knee.offered if found.knee else None,
        "closed_loop_per_sec": found.closed_loop_per_sec,
        "sentences": capacity_text.sentences(found),
        "steps": [_step(step) for step in found.steps],
    }


def _scaling(found: Scaling) -> dict[str, Any]:
    law = found.law
    return {
        **_answer(found.interval),
        "connections": found.best or None,
        "law": law
        and {
            "per_connection_per_sec": law.per_connection,
            "contention": law.contention,
            "coherency": law.coherency,
            "peak_connections": None if math.isinf(law.peak) else law.peak,
            "fit": law.fit,
        },
        "objectives_held_up_to": found.widest_held if found.objectives else None,
        "sentences": scaling_text.sentences(found),
        "points": [_point(point) for point in found.points],
    }


def _answer(interval: Interval | None) -> dict[str, Any]:
    return {
        "capacity_per_sec": interval and interval.middle,
        "interval_per_sec": interval and {"low": interval.low, "high": interval.high},
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "connections": point.connections,
        "pages_per_sec": point.pages_per_sec,
        "p50_us": point.p50_us,
        "p99_us": point.p99_us,
        "error_share": point.error_share,
        "broken": list(point.broken),
        **_cause(point.cause),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "limiter": cause.limiter,
        "client_cores": cause.client_cores,
        "server_cores": cause.server_cores,
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
        **_cause(step.cause),
    }


def write_json(found: Capacity | Scaling, environment: Environment, stream: TextIO) -> None:
    """Write it to `stream` as one JSON object."""
    json.dump(to_document(found, environment), stream, indent=2)
    stream.write("\n")
