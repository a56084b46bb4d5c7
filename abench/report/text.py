"""The report as text: on a terminal of any width or in a file, with or without colour."""

import io
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from abench.report.differences import render_baseline
from abench.report.text_tables import BesideBars, Rows, grid
from abench.stats import breakdown, phrases, scenario_phrases
from abench.stats.bottleneck import Bottleneck, find_bottleneck
from abench.stats.breakdown import Row
from abench.stats.latency import NAMES, latencies_with_waits
from abench.stats.parts import Threshold
from abench.stats.results import Results, distributions
from abench.stats.units import count, decimal, microseconds

MAX_URLS = 10  # in the text: a file may have a million


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
        *_breakdown(report),
        *_scenario(report),
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
    table = grid(3, "left")
    pages = f"{decimal(report.pages_per_sec)} pages/sec"
    table.add_row(
        "speed", Text.assemble((pages, "bold"), f"   {decimal(report.pages_per_min)} pages/min")
    )
    for name, text in phrases.transfers(report):
        table.add_row(name, text)
    table.add_row("requests", _outcomes(report))
    if report.failed:
        table.add_row("failures", Text(_pairs(report.failures), style="red"))
    for what, message in phrases.describe_samples(report):
        table.add_row("", Text.assemble((what, "red"), f", {message}"))
    if report.status:
        table.add_row("status", _statuses(report.status))
    if report.schedule:
        style = "" if report.schedule.is_met else "red"
        table.add_row("schedule", Text(phrases.describe_schedule(report.schedule), style=style))
    if report.warmup:
        style = "yellow" if report.warmup.steady is False else ""
        table.add_row("warm-up", Text(phrases.describe_warmup(report.warmup), style=style))
    for row in phrases.describe_own(report):
        table.add_row(*row)
    return table


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


def _latencies(report: Results) -> RenderableType:
    found = distributions(report)
    right: JustifyMethod = "right"
    table = grid(2, *[right] * len(found))
    table.add_row("latency", *(Text(name, style="dim") for name in found if len(found) > 1))
    for row in zip(NAMES, *(map(microseconds, one.values) for one in found.values()), strict=True):
        table.add_row(*row)
    which = "response" if report.response else "service"
    return BesideBars(table, latencies_with_waits(report.summary, which))


def _breakdown(report: Results) -> Iterator[RenderableType]:
    """Yield a table for each way in which the run can be divided."""
    urls = list(breakdown.url_rows(report))
    for title, names, rows in (
        ("phase", breakdown.PHASE_NAMES, list(breakdown.phase_rows(report))),
        ("stage", breakdown.STAGE_NAMES, list(breakdown.stage_rows(report))),
        ("url", breakdown.URL_NAMES, urls[:MAX_URLS]),
    ):
        if rows:
            table = Rows(title, names, rows, optional=breakdown.OPTIONAL)
            yield from ("", Padding(table, (0, 0, 0, 2), expand=False))
    if (more := len(urls) - MAX_URLS) > 0:
        text = f"and {count(more)} more, on which less time was spent: --json and --html have them"
        yield Padding(Text(text, style="dim"), (0, 0, 0, 2))


def _scenario(report: Results) -> list[RenderableType]:
    """Return the steps, the checks and the exceptions of a scenario."""
    scenario = report.scenario
    if scenario is None:
        return []
    steps = [
        Row(name, cells) for name, cells in scenario_phrases.step_rows(scenario, report.duration_s)
    ]
    table = Rows("step", scenario_phrases.STEP_NAMES, steps)
    facts = grid(3, "left")
    facts.add_row("paths", scenario_phrases.describe_iterations(scenario))
    for name, always, outcome in scenario_phrases.check_lines(scenario):
        facts.add_row("check", Text.assemble(f"{name}: ", (outcome, "" if always else "red")))
    for line in scenario_phrases.exception_lines(scenario):
        facts.add_row("raised", Text(line, style="red"))
    shown = (table, "", facts) if steps else (facts,)
    return ["", *(Padding(one, (0, 0, 0, 2), expand=False) if one else "" for one in shown)]


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
    table = grid(2, "left")
    for number, line in enumerate(advice):
        table.add_row("" if number else "try", Text(line))
    return table


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
