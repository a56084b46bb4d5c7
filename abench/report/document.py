"""The report as a JSON document, for programs to read."""

import json
from dataclasses import asdict
from typing import Any, TextIO

from abench.report.derived import Latency, Paced, Report, Second, Warmup

SCHEMA = 2


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
        "latency": {
            "service": _latency(report.service),
            "response": _latency(report.response),
        },
        "histograms": {
            "service": report.summary.service.encode(),
            "response": report.summary.response.encode() if report.response else None,
        },
        "schedule": _schedule(report),
        "warmup": _warmup(report.warmup),
        "client": {
            "cpu_per_worker": list(report.client.cpu),
            "loop_lag": _latency(report.client.lag),
            "peak_rss_bytes": report.client.peak_rss,
        },
        "series": [_second(one) for one in report.series],
    }


def _schedule(report: Report) -> dict[str, Any] | None:
    plan, paced = report.plan, report.paced
    if paced is None:
        return None
    asked = {"rate": plan.rate, "arrivals": plan.arrivals, "stages": plan.stages}
    return {**asked, **_paced(paced)}


def _paced(paced: Paced) -> dict[str, Any]:
    return {
        "offered_per_sec": paced.offered,
        "achieved_per_sec": paced.achieved,
        "due": paced.due,
        "started": paced.started,
        "late": paced.late,
        "skipped": paced.skipped,
        "kept": paced.is_kept,
    }


def _warmup(warmup: Warmup | None) -> dict[str, Any] | None:
    return asdict(warmup) if warmup else None


def _second(second: Second) -> dict[str, Any]:
    latencies = {"service": _latency(second.service), "response": _latency(second.response)}
    return {
        "at_s": second.at_s,
        "length_s": second.length_s,
        "succeeded": second.succeeded,
        "failed": second.failed,
        "bytes_received": second.bytes_received,
        "pages_per_sec": second.pages_per_sec,
        "latency": latencies,
    }


def _latency(latency: Latency | None) -> dict[str, Any] | None:
    if latency is None:
        return None
    return {
        "unit": "us",
        "min": latency.min,
        "mean": latency.mean,
        **latency.percentiles,
        "max": latency.max,
    }
