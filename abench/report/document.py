"""The report as a JSON document, for programs to read."""

import json
from typing import Any, TextIO

from abench.report.derived import Latency, Report

SCHEMA = 1


def write(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream` as one JSON object."""
    json.dump(document(report), stream, indent=2)
    stream.write("\n")


def document(report: Report) -> dict[str, Any]:
    """Return the report as plain data. Times are in the unit named, rates per second or minute."""
    plan = report.plan
    return {
        "schema": SCHEMA,
        "url": plan.target.url,
        "method": plan.method,
        "keep_alive": plan.keep_alive,
        "workers": plan.processes,
        "workers_lost": report.lost_workers,
        "connections": plan.connections,
        "connections_standing": report.standing,
        "timeout_s": plan.timeout_s,
        "duration_s": report.duration_s,
        "stopped_by_signal": report.stopped_by or None,
        "gave_up": report.gave_up,
        "requests": {
            "total": report.total,
            "succeeded": report.succeeded,
            "failed": report.failed,
            "unfinished": report.unfinished,
        },
        "failures": report.failures,
        "status": {str(code): count for code, count in report.status.items()},
        "pages_per_sec": report.pages_per_sec,
        "pages_per_min": report.pages_per_min,
        "bytes_per_sec": report.bytes_per_sec,
        "bytes_received": report.bytes_received,
        "latency": {"service": _latency(report.service)},
    }


def _latency(latency: Latency) -> dict[str, Any]:
    return {
        "unit": "us",
        "min": latency.min,
        "mean": latency.mean,
        **latency.percentiles,
        "max": latency.max,
    }
