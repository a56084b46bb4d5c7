"""What docs/compression.md shows of the measurements: a table of servers, and one of sites."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.compression.sites import NAMES
from benchmarks.compression.works import EVERYBODY, IN_CHROMIUM, LEVELS
from benchmarks.figures import TIMES, medians, shown
from benchmarks.results import Result
from benchmarks.servers import SIBLINGS
from benchmarks.tables import Rows, markdown

PAGE = Path("docs/compression.md")
_BEGIN, _END = "<!-- measured: written by make compare -->", "<!-- end of what was measured -->"
_NOTHING = "\N{EM DASH}"

_COLUMNS = (
    ("compressed before: µs", "zip-cached", "us"),
    (f"{TIMES} as it is", "zip-cached", "plain_times"),
    ("first 1 MB: ms", "zip-first-gzip", "last_byte_ms"),
    ("processor ms", "zip-first-gzip", "reply_cpu_ms"),
    ("KiB", "zip-first-gzip", "wire_kib"),
    (f"p99 beside, {TIMES} alone", "zip-beside", "p99_times"),
    (f"bytes a second later, {TIMES} brotli 11", "zip-bytes", "brotli11_times"),
)
_SITES = (
    ("KiB at first", "cold_kib"),
    ("KiB a second later", "later_kib"),
    ("ms at first", "cold_ms"),
    ("ms a second later", "later_ms"),
)

_ABOUT = """\
What compression costs, beside other servers that compress. `python -m benchmarks.compression`
measures it, and [all rounds](comparison-rounds.md) say how.

- *Compressed before*: 100 KB of JSON over 64 connections, in processor time per request, and as a
  multiple of a file of that many bytes as it is.
- *First 1 MB*: JSON that no one has asked for, for a client that accepts gzip: until its last byte,
  the processor time until then, and the bytes on the wire.
- *Beside*: the 99th percentile of another client that asks for 1 KB, beside such first responses.
- *A second later*: JSON, HTML, SVG and JavaScript for a browser, beside Brotli at its best.
"""


def updated(page: str, found: Mapping[str, Result]) -> str:
    """Return the page with what was measured in its place; as it is if it has no such place."""
    before, begin, rest = page.partition(_BEGIN)
    if not begin:
        return page
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n\n{measured(found)}\n{_END}{after}"


def measured(found: Mapping[str, Result]) -> str:
    """Return the tables, and how aserve does beside the level of nginx of the same size."""
    if not any(work in found for _, work, _ in _COLUMNS):
        return "Not measured yet.\n"
    parts = [_ABOUT, markdown(servers(found)), same_size(found)]
    if len(sites := in_chromium(found)) > 1:
        parts += [
            "Built sites in Chromium with an empty cache, all their pages:\n",
            markdown(sites),
        ]
    return "\n".join(part for part in parts if part)


def servers(found: Mapping[str, Result]) -> Rows:
    """Return a row for each server that compresses."""
    columns = [
        medians(found[work].rounds, figure) if work in found else {} for _, work, figure in _COLUMNS
    ]
    head = ["", *(heading for heading, *_ in _COLUMNS)]
    names = [name for name in (*EVERYBODY, *SIBLINGS) if any(name in column for column in columns)]
    return [head, *([name, *(_cell(column.get(name)) for column in columns)] for name in names)]


def same_size(found: Mapping[str, Result]) -> str:
    """Return aserve's first response beside that of nginx at the level with about its size."""
    if "zip-first-gzip" not in found:
        return ""
    rounds = found["zip-first-gzip"].rounds
    sizes = medians(rounds, "wire_kib")
    levels = [name for name in LEVELS if name in sizes]
    if "aserve" not in sizes or not levels:
        return ""
    level = min(levels, key=lambda name: abs(sizes[name] - sizes["aserve"]))
    times = medians(rounds, "last_byte_ms")
    costs = medians(rounds, "reply_cpu_ms")
    longer, dearer = (found["aserve"] / found[level] for found in (times, costs))
    return (
        f"For a first response, *{level}* has about the same size ({shown(sizes[level])} KiB, "
        f"aserve {shown(sizes['aserve'])}). Beside it, aserve takes {longer:.2f} times as long "
        f"until the last byte, and {dearer:.2f} times the processor time.\n"
    )


def in_chromium(found: Mapping[str, Result]) -> Rows:
    """Return a row for each site and server."""
    body = []
    for site in NAMES:
        if (result := found.get(f"zip-site-{site}")) is None:
            continue
        columns = [medians(result.rounds, figure) for _, figure in _SITES]
        body += [
            [f"{site}, {name}", *(_cell(column.get(name)) for column in columns)]
            for name in IN_CHROMIUM
            if name in result.rounds
        ]
    return [["", *(heading for heading, _ in _SITES)], *body]


def _cell(value: float | None) -> str:
    return _NOTHING if value is None else shown(value)
