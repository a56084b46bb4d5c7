"""The parts of the full-screen view: each returns lines for a width and a height."""

import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text

from abench.report.bars import ASCII_BARS, BARS, bar_rows
from abench.report.recent_seconds import RecentSeconds
from abench.report.text_tables import bar
from abench.stats import phrases
from abench.stats.bins import bins
from abench.stats.bottleneck import find_bottleneck
from abench.stats.histogram import Histogram
from abench.stats.results import Results
from abench.stats.units import byte_size, count, decimal, microseconds

PERCENTILES = ("p50", "p99", "p99.9")
_STYLES = dict(zip(PERCENTILES, ("cyan", "yellow", "magenta"), strict=True))
_SUMMARY = ("p50", "p90", "p99", "p99.9")  # as many as 80 columns have room for
_LABEL = 16  # columns of a percentile and its value
_BIN_LABEL = 9  # columns of the end of a bin
_SHARE = 6  # columns of the share of a bin
_MIN_BARS = 4  # columns: narrower bars tell nothing
_MAX_REPEATED = 4  # columns for one second
_MIN_TALL = 3  # rows of a chart that is set apart from the one above it
_VERDICT, _FAILED = "so far   ", "FAILED   "


def joined(parts: Iterable[tuple[str, str]], width: int, gap: str = "   ") -> Text:
    """Return the first parts, texts with their styles, that fit into one line."""
    line = Text()
    for text, style in parts:
        before = gap if line else ""
        if line and line.cell_len + cell_len(before + text) > width:
            break
        line.append(before).append(text, style)
    return line


def both_ends(left: Text, right: str, width: int) -> Text:
    """Return a line with `right` at its end, and as much of `left` as there is room for."""
    room = max(0, width - cell_len(right) - 1)
    start = left.copy()
    start.truncate(room, pad=True)
    return start.append(" ").append(right)


def totals(report: Results, recent: RecentSeconds, width: int) -> Text:
    """Return the rate of the last second and on average, and the outcomes so far."""
    average = report.pages_per_sec if recent.average is None else recent.average
    rate = recent.points[-1].rate if recent.points else average
    parts = [
        (f"{decimal(rate)} pages/sec", "bold"),
        (f"{decimal(average)} on average", ""),
        (f"{count(report.succeeded)} succeeded", "green" if report.succeeded else ""),
        (f"{byte_size(report.bytes_received)} received", ""),
    ]
    # Where there is little room, failures matter more than the rest.
    failed = (f"{count(report.failed)} failed", "red" if report.failed else "")
    parts.insert(1 if report.failed else 2, failed)
    return joined(parts, width)


def over_time(recent: RecentSeconds, width: int, height: int, *, ascii_only: bool) -> list[Text]:
    """Return charts of the rate and of percentiles, one column for each second, now at the end."""
    bars = ASCII_BARS if ascii_only else BARS
    names = PERCENTILES[: max(0, min(len(PERCENTILES), height - 2))]
    each = max(1, (height - 1) // (len(names) + 2))  # the rate gets twice as many rows
    # Charts of both share their columns, so that what happened at once stands in one of them.
    room = max(_MIN_BARS, width - _LABEL)
    rates = recent.rates()[-room:]
    columns = _columns(rates, room)
    rows = bar_rows(columns, max(0, height - 1 - each * len(names)), bars)
    lines = [_rate_title(rates, width)]
    lines += [Text.assemble(" " * _LABEL, (row.rjust(room), "green")) for row in rows]
    for name in names:
        lines += _percentile_rows(name, recent.percentile(name), room, each, bars)
    return lines[:height]


def _columns(values: Sequence[float], width: int) -> list[float]:
    """Return the values, each as many times as there is room for, so that few are wide."""
    times = max(1, min(_MAX_REPEATED, width // max(1, len(values))))
    return [value for value in values for _ in range(times)]


def _rate_title(rates: Sequence[float], width: int) -> Text:
    parts = [("pages/sec", "bold")]
    if rates:
        parts.append((f"up to {decimal(max(rates))} in {len(rates)} s", "dim"))
    return joined(parts, width)


def _percentile_rows(
    name: str, values: Sequence[int | None], room: int, height: int, bars: str
) -> list[Text]:
    """Return the bars of a percentile beside its latest value; tall ones are set apart."""
    found, style = [us or 0 for us in values[-room:]], _STYLES[name]
    labels = [(f"{name:<6}{microseconds(values[-1] if values else None):>9}", style)]
    if height > 1:
        labels.append((f"{'up to':<6}{microseconds(max(found, default=None)):>9}", "dim"))
    is_tall = height >= _MIN_TALL
    rows = bar_rows(_columns(found, room), height - is_tall, bars)
    labels += [("", "")] * (len(rows) - len(labels))
    lines = [
        Text.assemble((f"{label:<{_LABEL}}", label_style), (row.rjust(room), style))
        for (label, label_style), row in zip(labels, rows, strict=True)
    ]
    return [Text(), *lines] if is_tall else lines


def distribution(
    latencies: Histogram, title: str, width: int, height: int, *, ascii_only: bool
) -> list[Text]:
    """Return a histogram on a logarithmic scale: a row for each bin, with its share."""
    lines = [joined([(title, "bold"), (f"of {count(latencies.count)}", "dim")], width)]
    room = max(_MIN_BARS, width - _BIN_LABEL - _SHARE - 2)
    rows = bins(latencies, height - 1) if height > 1 else []
    highest = max((one.values for one in rows), default=1)
    for top, number in rows:
        drawn = bar(number / highest * room, ascii_only=ascii_only)
        share = f"{100 * number / latencies.count:.1f}%"
        lines.append(
            Text.assemble(
                (f"{microseconds(top):>{_BIN_LABEL}} ", "dim"),
                (f"{drawn:{room}}", "cyan"),
                f" {share:>{_SHARE}}",
            )
        )
    return lines[:height]


def outcomes(report: Results, width: int, height: int) -> list[Text]:
    """Return the statuses, then the kinds of failures, then the first failure of each."""
    found = sorted(report.status.items(), key=lambda each: (-(each[0] // 100), each[0]))
    statuses = [
        (f"{code} x {count(number)}", "" if code < 400 else "red") for code, number in found
    ]
    failures = [(f"{kind} {count(n)}", "red") for kind, n in report.failures.items() if n]
    lines = [joined([("status", "dim"), *statuses], width)] if statuses else []
    if failures:
        lines.append(joined([("failures", "dim"), *failures], width))
    for what, message in phrases.describe_samples(report):
        lines.append(Text.assemble((f"  {what}", "red"), f", {message}"))
    return lines[:height]


def summary_line(report: Results, width: int) -> Text:
    """Return the percentiles of the whole run in one line, as far as it is wide enough."""
    kind, latency = (
        ("response", report.response) if report.response else ("service", report.service)
    )
    named = {name: latency.percentiles[name] for name in _SUMMARY}
    named["max"] = latency.max
    parts = [(f"{name} {microseconds(us)}", _STYLES.get(name, "")) for name, us in named.items()]
    return joined([(f"{kind} time", "dim"), *parts], width)


def verdict(report: Results | None, width: int, height: int) -> list[Text]:
    """Return what limits the run so far, and the conditions that are true already."""
    if report is None:
        return [Text(f"{_VERDICT}too early for a verdict", "dim")][:height]
    found = find_bottleneck(report)
    sure = " (likely)" if found.confidence == "likely" else ""
    style = "bold red" if found.is_bad else "bold"
    rows = textwrap.wrap(
        f"{found.sentence}{sure}",
        max(10, width - len(_VERDICT)),
        max_lines=max(1, height),
        placeholder=" ...",
    )
    lines = [
        Text.assemble((" " * len(_VERDICT) if at else _VERDICT, "dim"), (row, style))
        for at, row in enumerate(rows)
    ]
    conditions = [
        Text.assemble(
            (f"{'FAILED':<{len(_VERDICT)}}", "bold red"), phrases.describe_outcome(one)[1]
        )
        for one in report.thresholds
        if one.failed
    ]
    return [*conditions, *lines][:height]
