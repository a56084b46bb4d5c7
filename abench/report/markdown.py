"""The report in GitHub's Markdown, for the summary of a job or a comment on a pull request.

What comes from elsewhere, such as the messages of a server, can neither format the page nor
mention anybody: values are in code spans, and sentences are escaped.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TextIO

from abench.report.differences import MAY_BE_THE_REASON, describe_baseline, difference_cells
from abench.stats import breakdown, phrases
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.breakdown import Row
from abench.stats.difference import Difference, PlanDifferences, describe_difference
from abench.stats.latency import NAMES
from abench.stats.results import Results, distributions
from abench.stats.units import byte_size, count, decimal, microseconds

MAX_URLS = 20  # in a table: a file may have a thousand

_FORMATTING = re.compile(r"([\\`*_\[\]<>|~&$])")
_LINKING = re.compile(r"([@#])")  # GitHub would notify @someone, and link #1
_TICKS = re.compile("`+")


def write_markdown(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream`."""
    stream.write("\n".join(_lines(report)) + "\n")


def format_comparison(
    sides: Sequence[str],
    plans: PlanDifferences,
    differences: Sequence[Difference],
    failures: Sequence[str],
) -> str:
    """Return the comparison of two sides, each with its description; failures come first."""
    lines = [
        "### abench: A and B",
        "",
        *(f"- **FAILED** {text(one)}" for one in failures),
        *(f"- {name}: {code(side)}" for name, side in zip("AB", sides, strict=True)),
        "",
        *_differences(differences, plans, ("A", "B")),
    ]
    return "\n".join(lines) + "\n"


def text(words: str) -> str:
    """Return words that Markdown shows as they are, in one line."""
    escaped = _FORMATTING.sub(r"\\\1", " ".join(words.split()))
    return _LINKING.sub("\\1&#8203;", escaped)


def code(words: str) -> str:
    """Return words as a code span, in one line; a pipe is escaped as in a cell of a table."""
    line = " ".join(words.split())
    if not line:
        return ""
    longest = max((len(ticks) for ticks in _TICKS.findall(line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|")


def _lines(report: Results) -> Iterator[str]:
    found = find_bottleneck(report)
    certainty = " (likely)" if found.confidence == "likely" else ""
    yield from (f"### abench: {code(phrases.describe_target(report))}", "")
    yield from (f"**{text(found.sentence)}**{certainty}", "")
    yield from _thresholds(report)
    yield from _table(("pages/sec", "received/sec", "succeeded", "failed"), [_figures(report)])
    yield from _latencies(report)
    for title, names, rows in (
        ("phase", breakdown.PHASE_NAMES, breakdown.phase_rows(report)),
        ("stage", breakdown.STAGE_NAMES, breakdown.stage_rows(report)),
        ("url", breakdown.URL_NAMES, islice(breakdown.url_rows(report), MAX_URLS)),
    ):
        yield from _parts(title, names, list(rows))
    yield from _baseline(report)
    yield from _failures(report)
    yield from _details(report, found)


def _thresholds(report: Results) -> Iterator[str]:
    rows = [
        ("**FAILED**" if one.failed else "passed", code(one.text), text(one.measured))
        for one in report.thresholds
    ]
    if rows:
        yield from _table(("outcome", "condition", "measured"), rows)


def _figures(report: Results) -> tuple[str, ...]:
    rates = decimal(report.pages_per_sec), byte_size(report.bytes_per_sec)
    return *rates, count(report.succeeded), count(report.failed)


def _latencies(report: Results) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for name, latency in distributions(report).items():
        rows.append((name, *map(microseconds, latency.values)))
    yield from _table(("latency", *NAMES), rows)


def _parts(title: str, names: Sequence[str], parts: Sequence[Row]) -> Iterator[str]:
    """Yield a table of parts of the run, if there are any."""
    if parts:
        rows = [(code(one.label), *one.cells, text(one.outcomes)) for one in parts]
        yield from _table((title, *names, "outcomes"), rows)


def _baseline(report: Results) -> Iterator[str]:
    found = report.baseline
    if found:
        yield from (f"Baseline: {code(describe_baseline(found))}", "")
        yield from _differences(found.differences, found.plans, ("baseline", "this run"))


def _differences(
    differences: Iterable[Difference], plans: PlanDifferences, names: tuple[str, str]
) -> Iterator[str]:
    rows = [(*difference_cells(one), text(describe_difference(one))) for one in differences]
    yield from _table(("metric", *names, "difference", "in words"), rows)
    if plans:
        yield from (MAY_BE_THE_REASON, "")
        differing = [(name, *map(code, values)) for name, values in plans.items()]
        yield from _table(("", *names), differing)


def _failures(report: Results) -> Iterator[str]:
    """Yield what failed and what else a reader must know, as a list."""
    counted = {kind: number for kind, number in report.failures.items() if number}
    lines = [f"- failed, {kind}: {count(number)}" for kind, number in counted.items()]
    lines += [f"- {code(what)}, {code(words)}" for what, words in phrases.describe_samples(report)]
    lines += [f"- {text(remark)}" for remark in phrases.remarks(report)]
    if lines:
        yield from (*lines, "")


def _details(report: Results, verdict: Bottleneck) -> Iterator[str]:
    """Yield how the run was made, and what speaks for the verdict, folded away."""
    yield from ("<details><summary>The run</summary>", "")
    yield f"- {text(phrases.describe_load(report))}"
    yield from (f"- {text(line)}" for line in verdict.evidence)
    yield from (f"- Try: {text(line)}" for line in verdict.advice)
    if found := report.environment:
        machine = ", ".join(f"{name} {value}" for name, value in found.machine.items())
        versions = ", ".join(f"{name} {value}" for name, value in found.versions.items())
        yield f"- {text(found.started_at)}: {code(shlex.join(found.command))}"
        yield from (f"- {text(machine)}", f"- {text(versions)}")
    yield from ("", "</details>")


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table of cells that are Markdown already; numbers are to the right."""
    yield _row(names)
    yield _row(["---", *("---" if name in _WORDS else "---:" for name in names[1:])])
    yield from map(_row, rows)
    yield ""


_WORDS = {"condition", "in words"}


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
