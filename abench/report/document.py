"""The report as a JSON document for programs, which can be read back as a Report.

docs/abench-report.schema.json describes it. Within a schema number, keys are only added.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import starmap
from pathlib import Path
from typing import Any, TextIO

from abench.errors import ParameterError
from abench.plan.plan import Plan
from abench.plan.target import without_secrets
from abench.plan.url_file import WeightedUrl
from abench.report.type_check import has_type
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.environment import Environment
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.results import (
    PERCENTILES,
    ClientUsage,
    Latency,
    Redirect,
    Report,
    ScheduleResult,
    Second,
    Silence,
    StageResult,
    Threshold,
    Unanswered,
    Warmup,
    latencies_with_waits,
)
from abench.stats.samples import Sample
from abench.stats.summary import FAILURE_KINDS, Summary
from abench.stats.time_series import TimeSeries
from abench.system.procfs import ServerUsage, TcpCounters

SCHEMA = 2
MAX_URLS = 1_000  # in the document: a file may have a million


def write_json(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream` as one JSON object."""
    json.dump(to_document(report), stream, indent=2)
    stream.write("\n")


def to_document(report: Report) -> dict[str, Any]:
    """Return the report as JSON data; keys or `unit` name the unit of each value."""
    plan = report.plan
    return {
        "schema": SCHEMA,
        "environment": asdict(report.environment) if report.environment else None,
        "url": plan.target.url,
        "urls": [
            {"url": target.url, "weight": weight} for target, weight in plan.targets[:MAX_URLS]
        ],
        "urls_left_out": max(0, len(plan.targets) - MAX_URLS) + report.urls_left_out,
        "method": plan.method,
        "http": plan.http,
        "keep_alive": plan.keep_alive,
        "pipeline": plan.pipeline,
        "workers": plan.processes,
        "workers_lost": report.lost_workers,
        "connections": plan.connections,
        "connections_standing": report.open_connections,
        "timeout_s": plan.timeout_s,
        "planned": {
            "duration_s": plan.duration_s,
            "requests": plan.requests,
            "warmup_s": plan.warmup_s or None,
            "body_bytes": report.body_bytes,
        },
        "duration_s": report.duration_s,
        "start_within_s": report.start_within_s,
        "stopped_by_signal": report.stopped_by or None,
        "gave_up": report.gave_up,
        "faults": list(report.faults),
        "requests": {
            "total": report.total,
            "succeeded": report.succeeded,
            "failed": report.failed,
            "unfinished": report.unfinished,
            "retried": report.retried,
            "error_share": report.error_share,
        },
        "silence": asdict(report.silence) if report.silence else None,
        "paused_share": report.paused,
        "waiting": {
            "unit": "us",
            "count": report.waiting.count,
            "longest": report.waiting.longest_us,
        },
        "failures": report.failures,
        "reasons": report.reasons,
        "failure_samples": [_sample(one) for one in report.samples],
        "redirect": asdict(report.redirect) if report.redirect else None,
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
            "service": latencies_with_waits(report.summary, "service").encode(),
            "response": (
                latencies_with_waits(report.summary, "response").encode()
                if report.response
                else None
            ),
        },
        "schedule": _schedule(report),
        "warmup": asdict(report.warmup) if report.warmup else None,
        "client": {
            "cpu_per_worker": list(report.client.cpu),
            "loop_lag": _latency(report.client.lag),
            "peak_rss_bytes": report.client.peak_rss,
        },
        "server": _server(report),
        "kernel": asdict(report.kernel) if report.kernel else None,
        "same_host": report.is_local,
        "same_cores": report.shares_cores,
        "verdict": _bottleneck(find_bottleneck(report)),
        "thresholds": [asdict(threshold) for threshold in report.thresholds],
        "series": list(starmap(_second, zip(report.series, _intervals(report), strict=True))),
    }


def _schedule(report: Report) -> dict[str, Any] | None:
    plan, schedule = report.plan, report.schedule
    if schedule is None:
        return None
    return {
        "rate": plan.rate,
        "arrivals": plan.arrivals,
        "stages": plan.stages,
        "offered_per_sec": schedule.offered,
        "achieved_per_sec": schedule.achieved,
        "due": schedule.due,
        "started": schedule.started,
        "late": schedule.late,
        "skipped": schedule.skipped,
        "kept": schedule.is_met,
        "by_stage": [_stage(one) for one in report.stages],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "kind": sample.kind,
        "detail": sample.detail or None,
        "message": sample.message,
        "at_s": sample.at_us / 1e6,
    }


def _stage(stage: StageResult) -> dict[str, Any]:
    schedule = stage.schedule
    return {
        "stage": stage.text,
        "from_s": stage.from_s,
        "length_s": stage.length_s,
        "offered_per_sec": schedule.offered,
        "achieved_per_sec": schedule.achieved,
        **{name: getattr(schedule, name) for name in _SCHEDULE_COUNTS},
        **{name: getattr(stage, name) for name in ("succeeded", "failed", "unfinished")},
        "latency": {"service": _latency(stage.service), "response": _latency(stage.response)},
    }


def _server(report: Report) -> dict[str, Any] | None:
    if report.server is None:
        return None
    return {
        "cpu_s": report.server.cpu_s,
        "cpu_us_per_request": report.server_us_per_request,
        "peak_rss_bytes": report.server.peak_rss,
        "ended": report.server.ended,
    }


def _intervals(report: Report) -> list[Interval]:
    return [report.summary.series.at(second.at_s) for second in report.series]


def _second(second: Second, interval: Interval) -> dict[str, Any]:
    return {
        "at_s": second.at_s,
        "length_s": second.length_s,
        "succeeded": second.succeeded,
        "failed": second.failed,
        "bytes_received": second.bytes_received,
        "pages_per_sec": second.pages_per_sec,
        "asked_per_sec": second.requested_per_sec,
        "latency": {"service": _latency(second.service), "response": _latency(second.response)},
        "counts": {
            "service": _counts(interval.service),
            "response": _counts(interval.response) if second.response else None,
        },
    }


def _bottleneck(found: Bottleneck) -> dict[str, Any]:
    plain = asdict(found)
    return {"sure" if name == "confidence" else name: value for name, value in plain.items()}


def _counts(histogram: Histogram) -> str:
    """Return buckets as `MICROSECONDSxCOUNT` with blanks between: short and readable."""
    return " ".join(f"{value}x{count}" for value, count in sorted(histogram.counts.items()))


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


_INVALID = (
    *(LookupError, ArithmeticError, ValueError, TypeError, AttributeError, RecursionError),
    ParameterError,  # of a plan that is invalid
)


def read_report(path: Path) -> Report:
    """Read a report that `write_json` has written; raises ParameterError if it is invalid."""
    try:
        with path.open(encoding="utf-8") as stream:
            plain = json.load(stream)
        return from_document(plain)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except SchemaError as error:
        reason = str(error)
    except _INVALID:
        reason = "it is not a report of abench"
    raise ParameterError(str(path), reason) from None


class SchemaError(Exception):
    """The document has an unknown schema number."""


def from_document(plain: Mapping[str, Any]) -> Report:
    """Return the report of the JSON data of `to_document`.

    Raises SchemaError for another schema, and any of _INVALID for invalid data.
    """
    if plain["schema"] != SCHEMA:
        raise SchemaError(f"its schema is {plain['schema']}, and this abench reads {SCHEMA}")
    report = _report(plain)
    if not has_type(report, Report):
        raise TypeError
    return report


def _report(plain: Mapping[str, Any]) -> Report:
    requests, client, schedule = plain["requests"], plain["client"], plain["schedule"]
    planned = plain.get("planned", {})  # absent in early documents
    return Report(
        plan=_plan(plain),
        duration_s=plain["duration_s"],
        start_within_s=plain.get("start_within_s", 0.0),  # absent in early documents
        succeeded=requests["succeeded"],
        failed=requests["failed"],
        unfinished=requests["unfinished"],
        retried=requests.get("retried", 0),  # absent in early documents
        failures={kind: plain["failures"].get(kind, 0) for kind in FAILURE_KINDS},
        reasons=plain["reasons"],
        status={int(code): count for code, count in plain["status"].items()},
        bytes_received=plain["bytes_received"],
        open_connections=plain["connections_standing"],
        service=_to_latency(plain["latency"]["service"]),
        response=_to_latency_or_none(plain["latency"]["response"]),
        series=tuple(map(_to_second, plain["series"])),
        schedule=_to_schedule_result(schedule, schedule["rate"]) if schedule else None,
        stages=tuple(map(_to_stage, schedule.get("by_stage", ()))) if schedule else (),
        client=ClientUsage(
            tuple(client["cpu_per_worker"]),
            _to_latency(client["loop_lag"]),
            client["peak_rss_bytes"],
        ),
        warmup=Warmup(**plain["warmup"]) if plain["warmup"] else None,
        lost_workers=plain["workers_lost"],
        faults=tuple(plain["faults"]),
        gave_up=plain["gave_up"],
        stopped_by=plain["stopped_by_signal"] or 0,
        summary=_to_summary(plain),
        is_local=plain["same_host"],
        shares_cores=plain.get("same_cores"),
        kernel=TcpCounters(**plain["kernel"]) if plain["kernel"] else None,
        server=_to_server(plain["server"]),
        urls_left_out=plain.get("urls_left_out", 0),  # absent in early documents
        environment=_to_environment(plain["environment"]),
        waiting=_to_waiting(plain.get("waiting")),  # absent in early documents, as the next two
        silence=Silence(**plain["silence"]) if plain.get("silence") else None,
        paused=plain.get("paused_share", 0.0),
        thresholds=tuple(Threshold(**one) for one in plain["thresholds"]),
        samples=tuple(map(_to_sample, plain.get("failure_samples", ()))),  # as are these two
        redirect=Redirect(**plain["redirect"]) if plain.get("redirect") else None,
        body_bytes=planned.get("body_bytes", 0),
    )


def _plan(plain: Mapping[str, Any]) -> Plan:
    """Return the part of the plan that a report is made from."""
    schedule, warmup = plain["schedule"] or {}, plain["warmup"] or {}
    planned = plain.get("planned", {})  # absent in early documents
    return Plan(
        duration_s=planned.get("duration_s"),
        requests=planned.get("requests"),
        url=plain["url"],
        urls=tuple(WeightedUrl(**one) for one in plain["urls"]),
        connections=plain["connections"],
        workers=plain["workers"],
        timeout_s=plain["timeout_s"],
        keep_alive=plain["keep_alive"],
        pipeline=plain["pipeline"],
        method=plain["method"],
        http=plain["http"],
        rate=schedule.get("rate"),
        stages=schedule.get("stages"),
        arrivals=schedule.get("arrivals", "constant"),
        warmup_s=planned.get("warmup_s") or 0.0,
        warmup_auto=warmup.get("steady") is not None,
    )


def _to_latency(plain: Mapping[str, Any]) -> Latency:
    named = {name: plain[name] for name in PERCENTILES}
    return Latency(plain["min"], plain["mean"], named, plain["max"])


def _to_latency_or_none(plain: Mapping[str, Any] | None) -> Latency | None:
    return _to_latency(plain) if plain else None


def _to_second(plain: Mapping[str, Any]) -> Second:
    latency = plain["latency"]
    return Second(
        at_s=plain["at_s"],
        length_s=plain["length_s"],
        succeeded=plain["succeeded"],
        failed=plain["failed"],
        bytes_received=plain["bytes_received"],
        service=_to_latency(latency["service"]),
        response=_to_latency_or_none(latency["response"]),
        requested_per_sec=plain.get("asked_per_sec"),  # absent in early documents
    )


_SCHEDULE_COUNTS = ("due", "started", "late", "skipped")


def _to_stage(plain: Mapping[str, Any]) -> StageResult:
    return StageResult(
        text=plain["stage"],
        from_s=plain["from_s"],
        length_s=plain["length_s"],
        schedule=_to_schedule_result(plain),
        succeeded=plain["succeeded"],
        failed=plain["failed"],
        unfinished=plain["unfinished"],
        service=_to_latency(plain["latency"]["service"]),
        response=_to_latency(plain["latency"]["response"]),
    )


def _to_schedule_result(plain: Mapping[str, Any], requested: float | None = None) -> ScheduleResult:
    return ScheduleResult(
        offered=plain["offered_per_sec"],
        achieved=plain["achieved_per_sec"],
        **{name: plain[name] for name in _SCHEDULE_COUNTS},
        requested=requested,
    )


def _to_waiting(plain: Mapping[str, Any] | None) -> Unanswered:
    return Unanswered(plain["count"], plain["longest"]) if plain else Unanswered(0, 0)


def _to_server(plain: Mapping[str, Any] | None) -> ServerUsage | None:
    return ServerUsage(plain["cpu_s"], plain["peak_rss_bytes"], plain["ended"]) if plain else None


def _to_environment(plain: Mapping[str, Any] | None) -> Environment | None:
    if not plain:
        return None
    known = {field.name: plain[field.name] for field in fields(Environment)}
    return Environment(**{**known, "command": tuple(map(without_secrets, plain["command"]))})


def _to_sample(plain: Mapping[str, Any]) -> Sample:
    at_us = round(plain["at_s"] * 1e6)
    return Sample(at_us, plain["kind"], plain["detail"] or "", plain["message"])


def _to_summary(plain: Mapping[str, Any]) -> Summary:
    """Return the distributions and the other counts that a Report needs."""
    encoded, warmup = plain["histograms"], plain["warmup"] or {}
    series = TimeSeries(
        intervals=PackedIntervals({one["at_s"]: _to_interval(one) for one in plain["series"]})
    )
    return Summary(
        service=Histogram.decode(encoded["service"]),
        response=Histogram.decode(encoded["response"]) if encoded["response"] else Histogram(),
        series=series,
        warmup_requests=warmup.get("requests", 0),
    )


def _to_interval(plain: Mapping[str, Any]) -> Interval:
    return Interval(
        plain["succeeded"],
        plain["failed"],
        plain["bytes_received"],
        *(
            _to_histogram(plain["counts"][which], plain["latency"][which])
            for which in ("service", "response")
        ),
    )


def _to_histogram(counts: str | None, latency: Mapping[str, Any] | None) -> Histogram:
    if not counts or not latency:
        return Histogram()
    pairs = (word.split("x") for word in counts.split())
    buckets = Counter({int(value): int(count) for value, count in pairs})
    total = round(latency["mean"] * buckets.total())
    return Histogram(buckets, total, latency["min"], latency["max"])
