"""The report as a JSON document for programs, which can be read back.

Its keys are those of the figures (`stats/figure.py`), and a few more: see `EXTRAS`.
docs/abench-report.schema.json describes it. Within a schema number, keys are only added.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal, TextIO, get_args, get_origin

from abench.errors import ParameterError
from abench.report.type_check import has_type
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.figure import Entry, Figure, entries, in_order, stored_figures, without_none
from abench.stats.histogram import Histogram
from abench.stats.intervals import Interval, PackedIntervals
from abench.stats.latency import latencies_with_waits
from abench.stats.planned import Planned
from abench.stats.results import Results
from abench.stats.summary import Summary
from abench.stats.time_series import TimeSeries

SCHEMA = 2

EXTRAS = (
    Entry(
        "schema",
        Literal[2],
        Figure(
            "Schema number",
            "The version of this format. Within a number, keys are only added.",
            after="",
        ),
        lambda _: SCHEMA,
    ),
    Entry(
        "histograms/service",
        Histogram,
        Figure(
            "Service times",
            "From sending a request to the last byte of its response.",
            "us",
            after="latency/response",
        ),
        lambda report: latencies_with_waits(report.summary, "service"),
    ),
    Entry(
        "histograms/response",
        Histogram | None,
        Figure(
            "Response times",
            "From when a request was due to the last byte of its response. Null in a closed loop.",
            "us",
            after="histograms/service",
        ),
        lambda report: (
            latencies_with_waits(report.summary, "response") if report.response else None
        ),
    ),
    Entry(
        "verdict",
        Bottleneck,
        Figure("Verdict", "What the bottleneck was.", after="same_cores"),
        find_bottleneck,
    ),
)
"""What a document has beside the figures."""

ENTRIES = in_order([(None, entries(Results)), *((one.figure.after, [one]) for one in EXTRAS)])


def write_json(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream` as one JSON object."""
    json.dump(to_document(report), stream, indent=2)
    stream.write("\n")


def to_document(report: Results) -> dict[str, Any]:
    """Return the report as JSON data."""
    document = _encode_object(ENTRIES, report)
    for second, plain in zip(report.series, document["series"], strict=True):
        interval = report.summary.series.at(second.at_s)
        plain["counts"] = {
            "service": _counts(interval.service),
            "response": _counts(interval.response) if second.response else None,
        }
    return document


def _encode(value: Any) -> Any:
    """Return a value as JSON data."""
    if isinstance(value, Histogram):
        return value.encode()
    if isinstance(value, Mapping):
        return {str(key): _encode(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_encode(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _encode_object(entries(type(value)), value)
    return value


def _encode_object(of: Sequence[Entry], value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for entry in of:
        *groups, name = entry.key.split("/")
        inner = reduce(lambda outer, group: outer.setdefault(group, {}), groups, plain)
        inner[name] = _encode(entry.get(value))
    return plain


def _counts(histogram: Histogram) -> str:
    """Return buckets as `MICROSECONDSxCOUNT` with blanks between: short and readable."""
    return " ".join(f"{value}x{count}" for value, count in sorted(histogram.counts.items()))


_INVALID = (
    *(LookupError, ArithmeticError, ValueError, TypeError, AttributeError, RecursionError),
    ParameterError,  # of a plan that is invalid
)


def read_report(path: Path) -> Results:
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


def from_document(plain: Mapping[str, Any]) -> Results:
    """Return the report of the JSON data of `to_document`.

    Raises SchemaError for another schema, and any of _INVALID for invalid data.
    """
    if plain["schema"] != SCHEMA:
        raise SchemaError(f"its schema is {plain['schema']}, and this abench reads {SCHEMA}")
    figures = _decode_fields(Results, plain)
    planned: Planned = _decode(Planned, plain)
    report = Results(
        plan=planned.plan(figures["schedule"], figures["warmup"]),
        summary=_to_summary(plain),
        body_bytes=planned.planned.body_bytes,
        urls_left_out=planned.urls_left_out,
        **figures,
    )
    if not has_type(report, Results):
        raise TypeError
    return report


def _decode(hint: Any, plain: Any) -> Any:
    """Return JSON data as a value of the type `hint`; its scalars are not checked."""
    kind: Any = without_none(hint)
    if kind is not hint and plain is None:
        return None
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(plain, list):
            raise TypeError
        return tuple(_decode(arguments[0], one) for one in plain)
    if get_origin(kind) is dict:
        return {arguments[0](key): _decode(arguments[1], one) for key, one in plain.items()}
    make: Any = kind  # mypy would take it for an instance
    return make(**_decode_fields(kind, plain)) if is_dataclass(kind) else plain


def _decode_fields(kind: Any, plain: Any) -> dict[str, Any]:
    """Return the declared fields of a class, except for those that early documents lack."""
    found = {}
    for name, hint, figure in stored_figures(kind):
        try:
            value = _find(plain, figure)
        except KeyError:
            if not figure.later:
                raise
        else:
            found[name] = _decode(hint, figure.read(value) if figure.read else value)
    return found


def _find(plain: Any, figure: Figure) -> Any:
    """Return the JSON data of a figure; raises LookupError or TypeError if there is none."""
    if figure.inline:
        return plain
    if figure.names:
        early = {name: None for name in figure.later_names if name not in plain}
        return {name: early[name] if name in early else plain[name] for name in figure.names}
    return reduce(getitem, figure.key.split("/"), plain)


def _to_summary(plain: Mapping[str, Any]) -> Summary:
    """Return the distributions and the other counts that Results need."""
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
    service, response = (
        _to_histogram(plain["counts"][which], plain["latency"][which])
        for which in ("service", "response")
    )
    return Interval(plain["succeeded"], plain["failed"], plain["bytes_received"], service, response)


def _to_histogram(counts: str | None, latency: Mapping[str, Any] | None) -> Histogram:
    if not counts or not latency:
        return Histogram()
    pairs = (word.split("x") for word in counts.split())
    buckets = Counter({int(value): int(count) for value, count in pairs})
    total = round(latency["mean"] * buckets.total())
    return Histogram(buckets, total, latency["min"], latency["max"])
