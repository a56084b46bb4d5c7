"""The report for people: on a terminal of any width, in a file, with and without colour."""

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

from abench.report.derived import Latency, Report
from abench.report.units import count, decimal, duration, microseconds, octets, plural


def write(report: Report, stream: TextIO) -> None:
    """Write `report` to `stream`, coloured where `stream` is a terminal that can show it."""
    console = Console(file=stream, highlight=False)
    with console.capture() as drawn:
        console.print(render(report))
    stream.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())


def render(report: Report) -> RenderableType:
    """Return the whole report, for a rich Console to lay out."""
    return Group(
        _heading(report),
        "",
        Padding(_figures(report), (0, 0, 0, 2), expand=False),
        "",
        Padding(_Latencies(report.service), (0, 0, 0, 2), expand=False),
        *_remarks(report),
    )


def _heading(report: Report) -> Text:
    plan = report.plan
    connections, workers = plural(plan.connections, "connection"), plural(plan.processes, "worker")
    when = "open before the start" if plan.keep_alive else "at once, a new one for each request"
    setting = f"{duration(report.duration_s)}, {workers}, {connections} {when}"
    return Text.assemble((plan.target.url, "bold"), "\n", (setting, "dim"))


def _figures(report: Report) -> Table:
    """Return the counts and rates: a label, and what there is to say to it."""
    grid = _grid(3, "left")
    pages = f"{decimal(report.pages_per_sec)} pages/sec"
    grid.add_row(
        "speed", Text.assemble((pages, "bold"), f"   {decimal(report.pages_per_min)} pages/min")
    )
    grid.add_row(
        "traffic",
        f"{octets(report.bytes_per_sec)}/sec   {octets(report.bytes_received)} received",
    )
    grid.add_row("requests", _outcomes(report))
    if report.failed:
        grid.add_row("failures", Text(_pairs(report.failures), style="red"))
    if report.status:
        grid.add_row("status", _statuses(report.status))
    return grid


def _outcomes(report: Report) -> Text:
    text = Text.assemble(
        (f"{count(report.succeeded)} succeeded", "green" if report.succeeded else ""),
        "   ",
        (f"{count(report.failed)} failed", "red" if report.failed else ""),
    )
    if report.unfinished:
        text.append(f"   {count(report.unfinished)} unfinished", "yellow")
    return text


def _pairs(failures: dict[str, int]) -> str:
    return "   ".join(f"{kind} {count(number)}" for kind, number in failures.items() if number)


def _statuses(status: dict[int, int]) -> Text:
    return Text("   ").join(
        Text(f"{code} x {count(number)}", style="" if code < 400 else "red")
        for code, number in status.items()
    )


class _Latencies:
    """The distribution as one row of figures, or as one column where that is too wide."""

    def __init__(self, service: Latency) -> None:
        values = (service.min, service.mean, *service.percentiles.values(), service.max)
        names = ("min", "mean", *service.percentiles, "max")
        self._cells = [(n, microseconds(v)) for n, v in zip(names, values, strict=True)]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        row = self._row()
        wanted = Measurement.get(console, options.update(max_width=1000), row).maximum
        fits = wanted <= options.max_width
        yield row if fits else self._column()

    def _row(self) -> Table:
        right: JustifyMethod = "right"
        grid = _grid(2, *[right] * len(self._cells))
        grid.add_row("latency", *(Text(name, style="dim") for name, _ in self._cells))
        grid.add_row("", *(value for _, value in self._cells))
        return grid

    def _column(self) -> Table:
        grid = _grid(2, "left", "right")
        grid.add_row("latency")
        for name, value in self._cells:
            grid.add_row("", Text(name, style="dim"), value)
        return grid


def _grid(padding: int, *justify: JustifyMethod) -> Table:
    """Return a table without lines: a column of labels, and one for each of `justify`."""
    grid = Table.grid(padding=(0, padding))
    grid.add_column(style="dim")
    for each in justify:
        grid.add_column(justify=each, no_wrap=each == "right")
    return grid


def _remarks(report: Report) -> list[Text]:
    """Return what a reader must know to believe the figures, one line each."""
    plan = report.plan
    remarks = []
    if plan.keep_alive and report.standing < plan.connections:
        short = f"{count(report.standing)} of {count(plan.connections)} connections"
        remarks.append(f"Only {short} could be opened before the start.")
    if report.gave_up:
        limit = duration(plan.timeout_s)
        remarks.append(f"Ended early: no connection could be opened for {limit}.")
    if report.lost_workers:
        lost = plural(report.lost_workers, "worker")
        remarks.append(f"{lost} of {plan.processes} died; only what had been reported is counted.")
    remarks += [f"abench failed: {fault}" for fault in report.faults]
    if report.stopped_by:
        remarks.append("Stopped by a signal before its end.")
    return [Text(remark, style="yellow") for remark in ("", *remarks)] if remarks else []
