"""Write the JSON Schema of reports, and the table of figures in abench.md, from the code.

python docs/figures.py, or make docs-settings. With --check nothing is written: exit code 1 if a
file is out of date.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from abench.report.document import ENTRIES
from abench.stats.figure import Entry, Figure, entries, without_none
from abench.stats.histogram import Histogram
from abench.stats.latency import Latency
from abench.stats.parts import Second
from abench.stats.phase_results import PhaseResult

SCHEMA = Path(__file__).with_name("abench-report.schema.json")
PAGE = Path(__file__).with_name("abench.md")
_BEGIN, _END = "<!-- figures: written by make docs-settings -->", "<!-- end of figures -->"
EARLY = "Absent in early documents."

_COUNTS = {"type": "string", "pattern": "^([0-9]+x[0-9]+( [0-9]+x[0-9]+)*)?$"}
_GROUPS = {
    "requests": ("Requests", "How many requests were made, and how they ended."),
    "latency": ("Latency", "Latencies of successful requests."),
    "histograms": ("Histograms", "The complete distributions behind `latency`."),
    "counts": (
        "Distributions",
        (
            "The distributions behind `latency`: for each bucket its lowest value in "
            "microseconds, x, and the number of requests. 100x900 2000x90: 900 requests of 100 us "
            "and 90 of 2 ms."
        ),
    ),
}
_SECOND_COUNTS = {
    "service": {
        "title": "Service times",
        "description": "From sending a request to the last byte of its response. Empty if no "
        "request succeeded.",
        **_COUNTS,
    },
    "response": {
        "title": "Response times",
        "description": "From when a request was due to the last byte of its response. Null in a "
        "closed loop.",
        **_COUNTS,
        "type": ["string", "null"],
    },
}
_HISTOGRAM = {
    "hdr": (
        "Histogram",
        (
            "The distribution in microseconds, in the compressed V2 encoding of HdrHistogram, as "
            "base64, with three significant digits."
        ),
        "string",
    ),
    "total_us": ("Sum", "Sum of all values in microseconds, exact.", "integer"),
    "least_us": ("Minimum", "The lowest value in microseconds, exact.", "integer"),
    "greatest_us": ("Maximum", "The highest value in microseconds, exact.", "integer"),
}
_SCALARS: dict[Any, dict[str, Any]] = {
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number", "minimum": 0},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}
_SHARED = {Latency: "latency", Histogram: "histogram", PhaseResult: "phase"}


def main() -> int:
    """Write the files, or check them."""
    new = {SCHEMA: schema_text(), PAGE: updated(PAGE.read_text(encoding="utf-8"))}
    if "--check" in sys.argv[1:]:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in new.items()))
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return 0


def schema_text() -> str:
    """Return the JSON Schema of documents, as text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of documents."""
    latency = {"title": "Latency", "description": "A summary of one distribution of latencies."}
    histogram = {
        name: {"title": title, "description": text, "type": kind}
        for name, (title, text, kind) in _HISTOGRAM.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of abench",
        "description": "What `abench --json` writes, schema number 2. The unit of a value is in its"
        " name (_s seconds, _us microseconds, _bytes, _per_sec) or in its description.",
        **_object(ENTRIES),
        "$defs": {
            "latency": {**latency, **_object(entries(Latency))},
            "phase": {
                "title": "Phase",
                "description": "How often a phase happened, and how long it took.",
                **_object(entries(PhaseResult)),
            },
            "histogram": {
                "title": "Histogram",
                "description": "One complete distribution of latencies.",
                "type": "object",
                "required": list(histogram),
                "properties": histogram,
            },
        },
    }


def _object(listed: tuple[Entry, ...]) -> dict[str, Any]:
    """Return the schema of an object; an entry `group/name` is in an object of its own."""
    properties: dict[str, Any] = {}
    required = []
    for entry in listed:
        group, slash, name = entry.key.rpartition("/")
        if slash and group not in properties:
            title, text = _GROUPS[group]
            properties[group] = {"title": title, "description": text}
            properties[group] |= _object(_members(listed, group))
            required.append(group)
        if not slash:
            properties[name] = _value(entry)
            required += [] if entry.figure.later else [name]
    return {"type": "object", "required": required, "properties": properties}


def _members(listed: tuple[Entry, ...], group: str) -> tuple[Entry, ...]:
    prefix = f"{group}/"
    return tuple(
        Entry(entry.key.removeprefix(prefix), entry.hint, entry.figure, entry.get)
        for entry in listed
        if entry.key.startswith(prefix)
    )


def _value(entry: Entry) -> dict[str, Any]:
    figure = entry.figure
    early = f" {EARLY}" if figure.later else ""
    about = {"title": figure.title, "description": figure.text + early}
    found = {**about, **_type(entry.hint, figure), **figure.schema}
    return {name: keyword for name, keyword in found.items() if keyword is not None}


def _type(hint: Any, figure: Figure) -> dict[str, Any]:
    """Return the part of a schema that says which values are valid."""
    kind = without_none(hint)
    if kind in _SHARED:
        shared = {"$ref": f"#/$defs/{_SHARED[kind]}"}
        return shared if kind is hint else {"oneOf": [{"type": "null"}, shared]}
    found = _plain_type(kind, figure)
    return found if kind is hint else {**found, "type": [found["type"], "null"]}


def _plain_type(kind: Any, figure: Figure) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"const": arguments[0]}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], figure)}
    if origin is dict:
        return _mapping(arguments, figure)
    if origin is UnionType:
        return {"type": [_SCALARS[one]["type"] for one in arguments]}
    return _object_of(kind, figure) if is_dataclass(kind) else dict(_SCALARS[kind])


def _mapping(arguments: tuple[Any, ...], figure: Figure) -> dict[str, Any]:
    value = _type(arguments[1], figure)
    if arguments[0] is int:
        keys = {"patternProperties": {"^[0-9]{1,3}$": value}, "additionalProperties": False}
        return {"type": "object", **keys}
    named = {"properties": _items(figure, value)} if figure.items else {}
    return {"type": "object", "additionalProperties": value, **named}


def _items(figure: Figure, value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"title": title, "description": text, **value}
        for name, (title, text) in figure.items.items()
    }


def _object_of(kind: type, figure: Figure) -> dict[str, Any]:
    found = _object(entries(kind))
    for name, (title, text) in figure.items.items():
        found["properties"][name] |= {"title": title, "description": text}
    if kind is Second:
        title, text = _GROUPS["counts"]
        inner = {"required": list(_SECOND_COUNTS), "properties": _SECOND_COUNTS}
        found["properties"]["counts"] = {
            "title": title, "description": text, "type": "object", **inner
        }  # fmt: skip
        found["required"].append("counts")
    return found


def updated(text: str) -> str:
    """Return the page with the table as the code has it now."""
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{figures()}\n\n{_END}{after}"


def figures() -> str:
    """Return a row for each figure of the document, with its name in conditions."""
    lines = ["| key | unit | meaning | condition |", "| --- | --- | --- | --- |"]
    for key, entry in _rows(ENTRIES, ""):
        gate = f"`{entry.figure.gate.name}`" if entry.figure.gate and "[]" not in key else ""
        text = entry.figure.text.replace("|", "\\|")
        lines.append(f"| `{key}` | {entry.figure.unit} | {text} | {gate} |")
    return "\n".join(lines)


def _rows(listed: tuple[Entry, ...], within: str) -> Iterator[tuple[str, Entry]]:
    """Yield the entries, and those of their parts; a distribution is one row."""
    for entry in listed:
        key = f"{within}{entry.key.replace('/', '.')}"
        yield key, entry
        kind = without_none(entry.hint)
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if is_dataclass(inner) and inner not in _SHARED and not entry.figure.items:
            yield from _rows(entries(inner), f"{key}." if inner is kind else f"{key}[].")


if __name__ == "__main__":
    sys.exit(main())
