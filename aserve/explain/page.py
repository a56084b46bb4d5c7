"""The traces of several models as one HTML page, in English and Chinese.

All that it needs is in it. Without a script it shows every model, one below the other, each with
all of its steps; with one, the steps can be played, and two models put side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, TextIO

from aserve.explain.book import book_steps
from aserve.explain.capture import RequestTrace
from aserve.explain.chinese import CHINESE
from aserve.explain.events import TraceEvent
from aserve.explain.lanes import Arrow, Bar, Lane, Phase, Span, Timeline
from aserve.explain.page_texts import ABOUT, TEXTS
from aserve.explain.phrase import Phrase
from aserve.explain.render import NO_STRACE
from aserve.explain.timeline import build_timeline
from aserve.explain.workflows import WORKFLOWS
from aserve.http.html_page import SHARED_STYLE, html_page, inline, read_script, read_style
from aserve.transport.registry import find_model

_STYLE = inline(SHARED_STYLE + read_style(Path(__file__).with_name("page.css")))
_SCRIPT = inline(read_script(Path(__file__).with_name("page.js")))
_POLICY = f"default-src 'none'; style-src 'unsafe-inline'; script-src {_SCRIPT.source}"
_STRIPES = 3  # of a step that asks in vain, at a glance
_MAX_CALL = 240  # characters of a system call
_FIRST_ROW = 2  # of the grid: the first one has the names of the lanes


class _Scene(NamedTuple):
    """What the page says of one model."""

    trace: RequestTrace
    timeline: Timeline
    steps: Sequence[int]  # of the book, by event

    @property
    def id(self) -> str:
        """The id of its section."""
        return f"m-{self.trace.model}"


def write_page(
    traces: Sequence[RequestTrace], idle: Mapping[str, Sequence[str]], options: str, stream: TextIO
) -> None:
    """Write the page. options: of the scenario; idle: those that a model, by name, did without."""
    scenes = [_Scene(trace, build_timeline(trace), book_steps(trace)) for trace in traces]
    title = f"aserve explain: {traces[0].request}"
    stream.write(html_page(escape(title), _STYLE, "".join(_body(scenes, idle, options))))


def _body(
    scenes: Sequence[_Scene], idle: Mapping[str, Sequence[str]], options: str
) -> Iterator[str]:
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<fieldset class="languages"><legend>Language / 语言</legend>'
    yield '<label><input type="radio" name="language" id="en" checked>English</label>'
    yield '<label lang="zh"><input type="radio" name="language" id="zh">中文</label></fieldset>\n'
    yield f"<header><h1>{_text('title')}</h1>\n"
    yield f"<p><code>{escape(scenes[0].trace.request)}</code>"
    yield f" <code>{escape(options)}</code></p>\n" if options else "</p>\n"
    yield f"<p>{_text('lead')}</p>\n{_legend(scenes)}</header>\n"
    if not all(scene.trace.has_syscalls for scene in scenes):
        yield f"<p>{_both(NO_STRACE, TEXTS['no_strace'][1])}</p>\n"
    yield from _overview(scenes)
    yield '<main id="models">\n'
    for scene in scenes:
        yield from _section(scene, " ".join(idle.get(scene.trace.model, ())))
    yield f"</main>\n{_player(scenes)}<script>{_SCRIPT.text}</script>\n"


def _both(english: str, chinese: str) -> str:
    """Return a text in both languages, of which the style shows one."""
    if english == chinese:
        return escape(english)
    return f'<span lang="en">{escape(english)}</span><span lang="zh">{escape(chinese)}</span>'


def _text(name: str) -> str:
    return _both(*TEXTS[name])


def _phrase(phrase: Phrase) -> str:
    return _both(str(phrase), phrase.translated(CHINESE))


def _legend(scenes: Sequence[_Scene]) -> str:
    bars = "".join(f'<li><i class="{bar.value}"></i>{_text(bar.name.lower())}</li>' for bar in Bar)
    phases = "".join(
        f'<li><b class="p{phase.value}">{phase.value}</b>{_text(f"phase_{phase.value}")}</li>'
        for phase in (Phase.READY, Phase.MOVED)
    )
    has_steps = any(any(scene.steps) for scene in scenes)
    steps = f'<li><b class="s">{_text("step")}</b>{_text("book_step")}</li>' if has_steps else ""
    return f'<ul class="legend">{bars}{phases}{steps}</ul>\n'


# All models at a glance.


def _overview(scenes: Sequence[_Scene]) -> Iterator[str]:
    yield '<nav class="overview" aria-labelledby="at-a-glance"><h2 id="at-a-glance">'
    yield f"{_text('overview')}</h2>\n<p>{_text('overview_lead')}</p>\n<ul>\n"
    for scene in scenes:
        yield f'<li><a href="#{scene.id}">{escape(scene.trace.title)}</a>{_ribbon(scene)}</li>\n'
    yield "</ul></nav>\n"


def _ribbon(scene: _Scene) -> str:
    """Return the bars of the threads alone, from left to right."""
    lanes = [number for number, lane in enumerate(scene.timeline.lanes) if lane.kind == "thread"]
    steps = len(scene.timeline.events)
    paths = "".join(
        f'<path class="{bar.value}" d="{_ribbon_path(spans, lanes)}"/>'
        for bar, spans in _by_bar(scene.timeline.spans, lanes)
    )
    return (
        f'<svg viewBox="0 0 {steps} {len(lanes)}" preserveAspectRatio="none" aria-hidden="true"'
        f' style="height:{len(lanes) * 9}px">{paths}</svg>'
    )


def _by_bar(spans: Sequence[Span], lanes: Sequence[int]) -> Iterator[tuple[Bar, list[Span]]]:
    shown = sorted((span for span in spans if span.lane in lanes), key=lambda one: one.bar.value)
    for bar, group in groupby(shown, key=lambda span: span.bar):
        yield bar, list(group)


def _ribbon_path(spans: Sequence[Span], lanes: Sequence[int]) -> str:
    parts = []
    for span in spans:
        y, length = lanes.index(span.lane), span.last - span.first + 1
        if span.bar is Bar.ASK:
            parts += [_stripe(span.first + n / _STRIPES, y) for n in range(length * _STRIPES)]
        elif span.bar is Bar.WAIT:
            parts.append(f"M{span.first} {y + 0.35:g}h{length}v.3h-{length}z")
        else:
            parts.append(f"M{span.first} {y + 0.1:g}h{length}v.8h-{length}z")
    return "".join(parts)


def _stripe(x: float, y: int) -> str:
    """Return a slanted stripe. A pattern would be stretched with the picture, and fall apart."""
    half = 1 / _STRIPES / 2
    return f"M{x + half:.2f} {y + 0.1:g}h{half:.2f}l-{half:.2f} .8h-{half:.2f}z"


# One model.


def _section(scene: _Scene, idle: str) -> Iterator[str]:
    trace = scene.trace
    info = find_model(trace.model, by_the_book=trace.by_the_book)
    defers = f" {_text('deferred')}" if info.uses_event_loop else ""
    yield f'<section class="model" id="{scene.id}" aria-labelledby="{scene.id}-h">\n'
    yield f'<h2 id="{scene.id}-h" tabindex="-1">{escape(trace.title)}</h2>\n'
    yield f"<p>{_both(*_about(trace))}{defers}</p>\n"
    if idle:
        yield f"<p>{_both(*(text.format(idle) for text in TEXTS['idle']))}</p>\n"
    if workflow := WORKFLOWS.get(trace.model) if any(scene.steps) else None:
        items = "".join(f"<li>{_phrase(phrase)}</li>" for phrase in workflow)
        summary = f"<summary>{_text('book')}</summary>"
        yield f'<details class="book">{summary}<ol>{items}</ol></details>\n'
    yield from _grid(scene)
    yield "</section>\n"


def _about(trace: RequestTrace) -> tuple[str, str]:
    summary = find_model(trace.model, by_the_book=trace.by_the_book).summary
    name = f"{trace.model} --by-the-book" if trace.by_the_book else trace.model
    return ABOUT.get(name, (summary, summary))


def _grid(scene: _Scene) -> Iterator[str]:
    timeline = scene.timeline
    steps = len(timeline.events)
    style = f"--n:{len(timeline.lanes)};grid-template-rows:auto repeat({steps},auto)"
    yield f'<div class="grid" style="{style}">\n'
    for number, lane in enumerate(timeline.lanes):
        yield f'<span class="lane {lane.kind}" style="grid-column:{number + 1}">'
        yield f"<span>{_phrase(lane.name)}</span></span>"
    yield "\n<ol>\n"
    lanes = {lane.thread: lane for lane in timeline.lanes if lane.thread}
    for step, event in enumerate(timeline.events):
        yield _row(scene, step, event, lanes[event.thread])
    yield "</ol>\n"
    yield from map(_bar, timeline.spans)
    yield "\n"
    yield from map(_arrow, timeline.arrows)
    yield "</div>\n"


def _row(scene: _Scene, step: int, event: TraceEvent, lane: Lane) -> str:
    times = f" (&times;{event.times:,})" if event.times > 1 else ""
    badges = ""
    if phase := scene.timeline.phases[step].value:
        badges += f'<b class="p{phase}">{phase}</b>'
    if number := scene.steps[step]:
        badges += (
            f'<b class="s" data-step="{number}">{_both(f"step {number}", f"第 {number} 步")}</b>'
        )
    text = f"<em>{_phrase(lane.name)}</em> {_phrase(event.phrase)}{times}{badges}"
    more = _details(event)
    style = f'style="grid-row:{step + _FIRST_ROW}"'
    if not more:
        return f"<li {style}><p>{text}</p></li>\n"
    return f"<li {style}><details><summary>{text}</summary>{more}</details></li>\n"


def _details(event: TraceEvent) -> str:
    call = event.call if len(event.call) <= _MAX_CALL else f"{event.call[:_MAX_CALL]}..."
    parts = [f"<code>{escape(call)}</code>"] if call else []
    parts += [f"<small>{escape(event.source)}</small>"] if event.source else []
    return "".join(parts)


def _bar(span: Span) -> str:
    first, column = span.first + _FIRST_ROW, span.lane + 1
    area = f"{first}/{column}/{span.last + _FIRST_ROW + 1}"
    return f'<i class="{span.bar.value}" style="grid-area:{area}"></i>'


def _arrow(arrow: Arrow) -> str:
    row, (left, right) = arrow.step + _FIRST_ROW, sorted((arrow.start, arrow.end))
    side = "r" if arrow.end > arrow.start else "l"
    return f'<u class="{side}" style="grid-area:{row}/{left + 1}/{row + 1}/{right + 2}"></u>'


def _player(scenes: Sequence[_Scene]) -> str:
    """Return what a script is needed for: it shows this."""
    options = "".join(
        f'<option value="{scene.id}">{escape(scene.trace.title)}</option>' for scene in scenes
    )
    buttons = "".join(
        f'<button id="{name}">{_text(name)}</button>' for name in ("back", "play", "forward")
    )
    return (
        '<div class="player" hidden>'
        f'<div class="buttons">{buttons}'
        '<input type="range" id="step" min="0" value="0" aria-label="Step / 步">'
        f'<output id="count"></output><label class="other">{_text("beside")}<select id="other">'
        f'<option value="">-</option>{options}</select></label></div>'
        '<div class="now" role="status"></div></div>\n'
    )
