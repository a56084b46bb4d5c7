"""An answer about a server's capacity as a self-contained page and as an image."""

import shlex
from collections.abc import Iterable, Iterator
from html import escape
from string import Template
from typing import TextIO

from abench.report.answer import Answer
from abench.report.html import format_figure, format_page, format_plot
from abench.report.svg import write_plots
from abench.stats.environment import Environment

_BODY = Template("""<header><h1>$title</h1><p class="quiet">$setting</p></header>
<main>
<div class="$kind"><b>$answer</b><ul>$notes</ul></div>
<div class="figures">$figures</div>
<div class="plots">$plots</div>
<section><h2>All runs</h2><div class="wide"><table class="numbers">$rows</table></div></section>
<dl>$environment</dl>
</main>""")


def write_html(answer: Answer, environment: Environment, stream: TextIO) -> None:
    """Write an answer to `stream` as an HTML page."""
    first, *notes = answer.sentences
    body = _BODY.substitute(
        title=escape(answer.title),
        setting=escape(f"{answer.setting}, {environment.started_at}"),
        kind="verdict" if answer.is_sound else "verdict bad",
        answer=escape(first),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        figures="".join(format_figure(*one) for one in answer.figures),
        plots="".join(
            format_plot(title, caption, {"broad": broad, "narrow": narrow})
            for title, caption, broad, narrow in answer.plots()
        ),
        rows="".join(_rows(answer)),
        environment="".join(_facts(environment)),
    )
    stream.write(format_page(answer.title, body))


def write_svg(answer: Answer, stream: TextIO) -> None:
    """Write the curves of an answer to `stream` as one image."""
    write_plots([(title, plot) for title, _, plot, _ in answer.plots()], stream)


def _rows(answer: Answer) -> Iterator[str]:
    yield _row("th", answer.columns)
    for cells in answer.rows:
        yield _row("td", cells)


def _row(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"


def _facts(environment: Environment) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    machine = environment.machine
    for name, text in (
        ("command", shlex.join(environment.command)),
        ("versions", versions),
        ("machine", f"{machine['system']}, {machine['processor']}, {machine['cores']} cores"),
    ):
        yield f"<dt>{name}</dt><dd>{escape(text)}</dd>"
