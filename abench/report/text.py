"""The report as text: on a terminal of any width or in a file, with or without colour."""

import io
from collections.abc import Sequence
from typing import TextIO

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    JustifyMethod,
    RenderableType,
    RenderResult,
)
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from abench.report.differences import render_baseline
from abench.stats import phrases
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.latency import Latency
from abench.stats.parts import Threshold
from abench.stats.results import Results, distributions
from abench.stats.units import count, decimal, microseconds


def write_text(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream`, with colours if it is a terminal that supports them."""
    console = Console(file=stream, highlight=False, emoji=False)
    with console.capture() as rendered:
        console.print(render(report))
    stream.writelines(f"{line.rstrip()}\n" for line in rendered.get().splitlines())


def write_plain(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream` without colours."""
    stream.write(format_plain(report))


def format_plain(report: Results) -> str:
    """Return the report as on a terminal of the current width, without colours."""
    stream = io.StringIO()
    console = Console(
        file=stream, highlight=False, emoji=False, color_system=None, force_terminal=False
    )
    console.print(render(report))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def render(report: Results) -> RenderableType:
    """Return the report as a renderable of rich."""
    return Group(
        _heading(report),
        "",
        Padding(_figures(report), (0, 0, 0, 2), expand=False),
        "",
        Padding(_latencies(report), (0, 0, 0, 2), expand=False),
        *_stages(report),
        *_gap(report),
        *_remarks(report),
        "",
        _verdict(find_bottleneck(report)),
        *_baseline(report),
        *_thresholds(report.thresholds),
    )


def _heading(report: Results) -> Text:
    lines = [phrases.describe_load(report)]
    if report.tls and report.tls.version:
        lines.insert(0, phrases.describe_tls(report.tls))
    return Text.assemble((phrases.describe_target(report), "bold"), "\n", ("\n".join(lines), "dim"))


def _figures(report: Results) -> Table:
    """Return the counts and rates as rows with a label."""
    grid = _grid(3, "left")
    pages = f"{decimal(report.pages_per_sec)} pages/sec"
    grid.add_row(
        "speed", Text.assemble((pages, "bold"), f"   {decimal(report.pages_per_min)} pages/min")
    )
    grid.add_row("traffic", phrases.describe_traffic(report))
    grid.add_row("requests", _outcomes(report))
    if report.tls and report.tls.handshakes:
        grid.add_row("handshakes", phrases.describe_handshakes(report.tls))
    if report.failed:
        grid.add_row("failures", Text(_pairs(report.failures), style="red"))
    for what, message in phrases.describe_samples(report):
        grid.add_row("", Text.assemble((what, "red"), f", {message}"))
    if report.status:
        grid.add_row("status", _statuses(report.status))
    if report.schedule:
        style = "" if report.schedule.is_met else "red"
        grid.add_row("schedule", Text(phrases.describe_schedule(report.schedule), style=style))
    if report.warmup:
        style = "yellow" if report.warmup.steady is False else ""
        grid.add_row("warm-up", Text(phrases.describe_warmup(report.warmup), style=style))
    if report.client.cpu:
        grid.add_row("client", phrases.describe_client(report.client))
    return grid


def _outcomes(report: Results) -> Text:
    text = Text.assemble(
        (f"{count(report.succeeded)} succeeded", "green" if report.succeeded else ""),
        "   ",
        (f"{count(report.failed)} failed", "red" if report.failed else ""),
    )
    if report.unfinished:
        text.append(f"   {count(report.unfinished)} unfinished", "yellow")
    if report.retried:
        text.append(f"   {count(report.retried)} retried", "yellow")
    return text


def _pairs(failures: dict[str, int]) -> str:
    return "   ".join(f"{kind} {count(number)}" for kind, number in failures.items() if number)


def _statuses(status: dict[int, int]) -> Text:
    return Text("   ").join(
        Text(f"{code} x {count(number)}", style="" if code < 400 else "red")
        for code, number in status.items()
    )


def _gap(report: Results) -> list[RenderableType]:
    gap = phrases.describe_gap(report)
    return ["", Text(gap, style="dim")] if gap else []


class _Rows:
    """A table of values by name, or one value per line where the table is too wide.

    `title` is the heading of the labels, and the label of a row that has none.
    """

    def __init__(
        self, title: str, names: Sequence[str], rows: Sequence[tuple[str, list[str]]]
    ) -> None:
        self._title = title
        self._names = names
        self._cells = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self._rows()
        wanted = Measurement.get(console, options.update(max_width=1000), rows).maximum
        fits = wanted <= options.max_width
        yield rows if fits else self._columns()

    def _rows(self) -> Table:
        right: JustifyMethod = "right"
        grid = _grid(2, *[right] * len(self._names))
        grid.add_row(self._title, *(Text(name, style="dim") for name in self._names))
        for label, cells in self._cells:
            grid.add_row(label, *cells)
        return grid

    def _columns(self) -> Table:
        grid = _grid(2, "left", "right")
        for label, cells in self._cells:
            grid.add_row(label or self._title)
            for name, value in zip(self._names, cells, strict=True):
                grid.add_row("", Text(name, style="dim"), value)
        return grid


def _latencies(report: Results) -> _Rows:
    names = ("min", "mean", *report.service.percentiles, "max")
    found = distributions(report)
    alone = len(found) == 1
    rows = [("" if alone else name, _cells(latency)) for name, latency in found.items()]
    return _Rows("latency", names, rows)


def _stages(report: Results) -> list[RenderableType]:
    rows = list(phrases.stage_rows(report))
    if not rows:
        return []
    table = _Rows("stage", phrases.STAGE_NAMES, rows)
    return ["", Padding(table, (0, 0, 0, 2), expand=False)]


def _cells(latency: Latency) -> list[str]:
    values = (latency.min, latency.mean, *latency.percentiles.values(), latency.max)
    return [microseconds(value) for value in values]


def _grid(padding: int, *justify: JustifyMethod) -> Table:
    """Return a table without lines: a column of labels, then one for each of `justify`."""
    grid = Table.grid(padding=(0, padding))
    grid.add_column(style="dim")
    for each in justify:
        grid.add_column(justify=each, no_wrap=each == "right")
    return grid


_CERTAINTY = {"sure": "", "likely": " (likely)", "unclear": ""}


def _verdict(found: Bottleneck) -> RenderableType:
    """Return the verdict, the evidence below it, and what to try next."""
    style = "bold red" if found.is_bad else "bold"
    sentence = Text.assemble(
        ("verdict  ", "dim"), (found.sentence, style), _CERTAINTY[found.confidence]
    )
    evidence = [Padding(Text(line, style="dim"), (0, 0, 0, 2)) for line in found.evidence]
    return Group(sentence, *evidence, _advice(found.advice))


def _advice(advice: tuple[str, ...]) -> Table:
    grid = _grid(2, "left")
    for number, line in enumerate(advice):
        grid.add_row("" if number else "try", Text(line))
    return grid


def _baseline(report: Results) -> list[RenderableType]:
    if report.baseline is None:
        return []
    return ["", *render_baseline(report.baseline)]


def _thresholds(thresholds: tuple[Threshold, ...]) -> list[RenderableType]:
    """Return a line for each condition, marked FAILED or passed."""
    lines: list[RenderableType] = [""] if thresholds else []
    for one in thresholds:
        word, outcome = phrases.describe_outcome(one)
        style = "bold red" if one.failed else "green"
        lines.append(Text.assemble((f"{word}  ", style), outcome))
    return lines


def _remarks(report: Results) -> list[Text]:
    remarks = list(phrases.remarks(report))
    return [Text(remark, style="yellow") for remark in ("", *remarks)] if remarks else []
