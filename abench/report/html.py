"""The report as one self-contained HTML page: no network and no other file.

Scripts let its plots answer to a pointer; without them, the page shows all that it has.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from importlib import import_module
from importlib.util import find_spec
from string import Template
from typing import TextIO

from abench.errors import ParameterError
from abench.report import interactive
from abench.report.differences import MAY_BE_THE_REASON, describe_baseline, difference_cells
from abench.report.html_tables import breakdown_tables, comma_separated, row
from abench.report.interactive import NO_SCRIPTS, Scripts
from abench.report.style import STYLE
from abench.stats import phrases, scenario_phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.difference import describe_difference
from abench.stats.latency import NAMES, PERCENTILES
from abench.stats.results import Results, distributions
from abench.stats.tls_results import TlsResult
from abench.stats.units import byte_size, count, decimal, microseconds, plural

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="$policy">
<title>abench: $title</title>
<style>
$style</style>
</head>
<body class="abench">
$body
$scripts</body>
</html>
""")
_BODY = Template("""<header><h1>$title</h1><p class="quiet">$setting</p></header>
<main>
$verdict
$remarks
$thresholds
<div class="figures">$figures</div>
<div class="plots">$plots</div>
<div class="plots">
<section><h2>Latency</h2><table>$latencies</table><p class="quiet">$gap</p></section>
<section><h2>The run</h2><dl>$facts</dl></section>
</div>
$baseline
$breakdown
$seconds
<dl>$environment</dl>
</main>""")


def check_available(option: str = "--html") -> None:
    """Raise ParameterError, before the run, if the plots cannot be drawn."""
    if not _can_draw():
        raise ParameterError(option, "needs matplotlib: pip install matplotlib")


def _can_draw() -> bool:
    return find_spec("matplotlib") is not None


def write_html(report: Results, stream: TextIO) -> None:
    """Write `report` to `stream` as an HTML page."""
    needed = interactive.scripts(interactive.plots(report))
    body = _body(report, _plots(report), _every_second(report))
    stream.write(format_page(phrases.describe_target(report), body, needed))


def format_page(title: str, body: str, scripts: Scripts = NO_SCRIPTS) -> str:
    """Return a page of abench in its style; `body` is HTML, and `title` is text."""
    return _PAGE.substitute(
        title=escape(title),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts.policy}",
        style=STYLE + scripts.style,
        body=body,
        scripts=scripts.body,
    )


def format_fragment(report: Results) -> str:
    """Return the page as an element of another page, such as a notebook; without each second.

    Without matplotlib it has no plots.
    """
    plots = _plots(report, narrow=False) if _can_draw() else ()
    return f'<div class="abench notebook"><style>{STYLE}</style>{_body(report, plots, ())}</div>'


def _body(report: Results, plots: Iterable[str], seconds: Iterable[str]) -> str:
    return _BODY.substitute(
        title=escape(phrases.describe_target(report)),
        setting=escape(_setting(report)),
        verdict=_verdict(report),
        remarks="".join(_remarks(report)),
        thresholds="".join(_thresholds(report)),
        figures="".join(_figures(report)),
        plots="".join(plots),
        latencies="".join(_latencies(report)),
        facts="".join(_listed(_facts(report))),
        gap=escape(phrases.describe_gap(report)),
        baseline="".join(_baseline(report)),
        breakdown="".join(breakdown_tables(report)),
        seconds="".join(seconds),
        environment="".join(_listed(_environment(report))),
    )


def _setting(report: Results) -> str:
    when = f", {report.environment.started_at}" if report.environment else ""
    return phrases.describe_load(report) + when


def _verdict(report: Results) -> str:
    found = find_bottleneck(report)
    kind = "verdict bad" if found.is_bad else "verdict"
    certainty = " (likely)" if found.confidence == "likely" else ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in found.evidence)
    steps = "".join(f"<li>{escape(line)}</li>" for line in found.advice)
    return (
        f'<div class="{kind}"><b>{escape(found.sentence)}</b>{certainty}<ul>{lines}</ul>'
        f'<p>What to try next</p><ul class="advice">{steps}</ul></div>'
    )


def _remarks(report: Results) -> Iterator[str]:
    for remark in phrases.remarks(report):
        yield f'<p class="remark">{escape(remark)}</p>'


def _thresholds(report: Results) -> Iterator[str]:
    for one in report.thresholds:
        word, outcome = phrases.describe_outcome(one)
        yield f'<p><b class="{word.lower()}">{word}</b> {escape(outcome)}</p>'


def _figures(report: Results) -> Iterator[str]:
    kind, latency = (
        ("response", report.response) if report.response else ("service", report.service)
    )
    yield format_figure("pages/sec", decimal(report.pages_per_sec))
    yield format_figure("received/sec", byte_size(report.bytes_per_sec))
    if report.body_bytes:
        yield format_figure("sent/sec", byte_size(report.sent_bytes_per_sec))
    yield format_figure("succeeded", count(report.succeeded))
    yield format_figure("failed", count(report.failed))
    for name in ("p50", "p99"):
        yield format_figure(f"{kind} {name}", microseconds(latency.percentiles[name]))
    if report.schedule:
        rate = report.schedule.requested
        yield format_figure(
            "requested/sec", decimal(report.schedule.offered if rate is None else rate)
        )
        yield format_figure("skipped", count(report.schedule.skipped))


def format_figure(name: str, value: str) -> str:
    """Return a main figure of a page, from its name and its value as text."""
    return (
        f'<div class="figure"><span class="quiet">{escape(name)}</span><b>{escape(value)}</b></div>'
    )


def _plots(report: Results, *, narrow: bool = True) -> Iterator[str]:
    """Yield each plot in two widths: text of the broad one is too small on a phone."""
    for title, caption, *svgs in import_module("abench.report.plots").plots(report):
        names = ("broad", "narrow") if narrow else ("wide",)
        yield format_plot(title, caption, dict(zip(names, svgs, strict=False)))


def format_plot(title: str, caption: str, svgs: Mapping[str, str]) -> str:
    """Return a plot of one or two widths, by their classes, with its title and caption."""
    label = escape(f"{title}. {caption}", quote=True)
    images = "".join(
        f'<div class="{name}">{_labelled(svg, label)}</div>' for name, svg in svgs.items()
    )
    return (
        f'<figure><h2>{escape(title)}</h2><div class="drawn">{images}</div>'
        f'<figcaption class="quiet">{escape(caption)}</figcaption></figure>'
    )


def _labelled(svg: str, label: str) -> str:
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _latencies(report: Results) -> Iterator[str]:
    """Yield a row for each value, with a column for each distribution, to fit any width."""
    latencies = distributions(report)
    yield row("th", "latency", latencies)
    found = (latency.values for latency in latencies.values())
    for name, *values in zip(NAMES, *found, strict=True):
        yield row("td", name, map(microseconds, values))


def _every_second(report: Results) -> Iterator[str]:
    yield '<details><summary>Every second</summary><div class="wide"><table>'
    yield from _seconds(report)
    yield "</table></div></details>"


def _seconds(report: Results) -> Iterator[str]:
    """Yield the values behind the plots over time, as a table."""
    requested = ("requested",) if report.schedule else ()
    yield row("th", "second", ("pages/sec", *requested, "failed", *PERCENTILES))
    for second in report.series:
        found = (second.response or second.service).percentiles.values()
        rates = [second.pages_per_sec, *([second.requested_per_sec] if requested else [])]
        shown = ["-" if rate is None else f"{rate:,.0f}" for rate in rates]
        yield row("td", str(second.at_s), (*shown, count(second.failed), *map(microseconds, found)))


def _baseline(report: Results) -> Iterator[str]:
    """Yield how the run differs from its baseline, if it has one."""
    found = report.baseline
    if found is None:
        return
    names = ("baseline", "this run")
    yield f'<section><h2>Baseline</h2><p class="quiet">{escape(describe_baseline(found))}</p>'
    rows = (row("td", name, cells) for name, *cells in map(difference_cells, found.differences))
    head = row("th", "metric", (*names, "difference"))
    yield f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'
    for one in found.differences:
        yield f"<p>{escape(describe_difference(one))}</p>"
    if found.plans:
        differing = (
            row("td", escape(name), map(escape, values)) for name, values in found.plans.items()
        )
        yield f'<p class="remark">{MAY_BE_THE_REASON}</p>'
        yield f'<div class="wide"><table>{row("th", "", names)}{"".join(differing)}</table></div>'
    yield "</section>"


def _facts(report: Results) -> Iterator[tuple[str, str]]:
    """Yield the facts of the run, as name and text."""
    yield from phrases.transfers(report)
    yield from _tls_facts(report.tls)
    if report.unfinished:
        yield "unfinished", plural(report.unfinished, "request")
    if report.retried:
        yield "retried", plural(report.retried, "request")
    for kind, number in report.failures.items():
        if number:
            yield f"failed: {kind}", count(number)
    yield from phrases.describe_samples(report)
    if report.schedule:
        yield "schedule", phrases.describe_schedule(report.schedule)
    yield from ((one.name, one.text) for one in scenario_phrases.facts(report.scenario))
    if report.warmup:
        yield "warm-up", phrases.describe_warmup(report.warmup)
    yield from phrases.describe_own(report)
    if report.client.cpu:
        yield "client memory", f"peak RSS {byte_size(report.client.peak_rss)} of the largest worker"


def _tls_facts(tls: TlsResult | None) -> Iterator[tuple[str, str]]:
    if tls and tls.version:
        yield "TLS", phrases.describe_tls(tls)


def _environment(report: Results) -> Iterator[tuple[str, str]]:
    found = report.environment
    if found:
        yield "command", shlex.join(found.command)
        yield "versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())
        yield "machine", ", ".join(_machine(name, value) for name, value in found.machine.items())


def _listed(facts: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in facts:
        yield f"<dt>{escape(name)}</dt><dd>{comma_separated(text)}</dd>"


def _machine(name: str, value: str | int) -> str:
    if isinstance(value, str):
        return value
    return plural(value, "core") if name == "cores" else f"{byte_size(value)} of memory"
