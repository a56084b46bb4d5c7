"""A story on the terminal, and as a picture that tells it from top to bottom."""

import math
from collections.abc import Iterator
from html import escape
from textwrap import wrap
from typing import TextIO

from aserve.explain.capture import RequestTrace
from aserve.explain.events import CLIENT, TraceEvent

_NO_STRACE = "strace is not installed: the system calls are missing (Debian: apt install strace)"

# The picture: user units, which are pixels at its own size.
_ROW, _LANE, _TIMES, _TOP, _EDGE = 26, 290, 76, 92, 20
_MAX_LABEL = 52  # of a label in a lane

_STYLE = """
svg { font: 12px system-ui, sans-serif; color-scheme: light dark }
.paper { fill: #fff } .ink { fill: #16202c } .quiet { fill: #5b6673 } .life { stroke: #c6cdd6 }
.box { fill: #eaf2fd; stroke: #0b62c4 } .call { stroke: #b45309 } .arrow { fill: #b45309 }
.net { stroke: #15803d } .netarrow { fill: #15803d } .head { font-weight: 600 }
@media (prefers-color-scheme: dark) {
.paper { fill: #12171e } .ink { fill: #e6ebf1 } .quiet { fill: #9aa7b5 } .life { stroke: #3a4450 }
.box { fill: #1b2b40; stroke: #6cb1ff } .call { stroke: #f0a95b } .arrow { fill: #f0a95b }
.net { stroke: #6fd18b } .netarrow { fill: #6fd18b } }
"""


def thread_names(story: RequestTrace) -> dict[int, str]:
    """Return the threads in the order in which they come in, by their names."""
    order = dict.fromkeys(event.thread for event in story.events if event.thread != CLIENT)
    names = {"MainThread": "main thread"}
    return {
        thread: names.get(story.threads.get(thread, ""), story.threads.get(thread, "a thread"))
        for thread in order
    }


def print_trace(story: RequestTrace, stream: TextIO, *, coloured: bool) -> None:
    """Write a line for each event: when, who, and what; system calls stand further in."""
    named = {CLIENT: "client", **thread_names(story)}
    width = max(map(len, named.values()))
    began = story.events[0].at
    print(f"{story.model}: GET {story.target}, {story.status}\n", file=stream)
    for event in story.events:
        who = named[event.thread].ljust(width)
        what = f"  {event.what}" if event.with_kernel else event.what
        if coloured:
            what = f"\x1b[{_color_code(event)}m{what}\x1b[0m"
        print(f"{_format_time(event.at - began):>9}  {who}  {what}".rstrip(), file=stream)
    print(f"\n{_summary(story)}", file=stream)


def _color_code(event: TraceEvent) -> str:
    if event.thread == CLIENT:
        return "32"
    return "33" if event.with_kernel else "36"


def _format_time(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _summary(story: RequestTrace) -> str:
    if not story.kernel:
        return _NO_STRACE
    ours = [event for event in story.events if event.thread != CLIENT]
    called = sum(bool(event.detail) for event in ours)
    threads = len({event.thread for event in ours})
    by = "one thread" if threads == 1 else f"{threads} threads"
    looked = "Being looked at makes it many times slower: the order is true, the times are not."
    return f"{called} telling system calls by {by}. {looked}"


def write_svg(story: RequestTrace, stream: TextIO) -> None:
    """Write the story as an SVG: a lane for the client, one for the kernel, one for each thread."""
    places = {CLIENT: 0, **{thread: 2 + place for place, thread in enumerate(thread_names(story))}}
    wide = _TIMES + _LANE * (len(places) + 1) + _LANE // 3
    high = _TOP + _ROW * (len(story.events) + 2)
    title = escape(f"aserve --model {story.model}: GET {story.target}, {story.status}")
    size = f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{wide}" height="{high}"/>',
        f'<text class="ink head" x="{_EDGE}" y="30" font-size="16">{title}</text>',
        *_lifelines(story, high),
        *_rows(story, places),
        f'<text class="quiet" x="{_EDGE}" y="{high - 16}">{escape(_summary(story))}</text>',
        "</svg>\n",
    ]
    stream.write("\n".join(parts))


def _middle(place: int) -> float:
    return _TIMES + _LANE * (place + 0.5)


def _lifelines(story: RequestTrace, high: int) -> Iterator[str]:
    for place, name in enumerate(("client", "kernel", *thread_names(story).values())):
        x = _middle(place)
        yield f'<text class="ink head" x="{x}" y="62" text-anchor="middle">{escape(name)}</text>'
        yield f'<path class="life" d="M{x} 74V{high - _ROW * 1.6:.0f}"/>'


def _rows(story: RequestTrace, places: dict[int, int]) -> Iterator[str]:
    began = story.events[0].at
    for number, event in enumerate(story.events):
        y = _TOP + _ROW * number + _ROW // 2
        shown = _format_time(event.at - began)
        yield f'<text class="quiet" x="{_TIMES - 8}" y="{y + 4}" text-anchor="end">{shown}</text>'
        yield f"<g><title>{escape(event.detail or event.what)}</title>{_row(event, places, y)}</g>"


def _row(event: TraceEvent, places: dict[int, int], y: int) -> str:
    x, kernel = _middle(places[event.thread]), _middle(1)
    if not event.with_kernel:
        return _note(x, y, event.what)
    kind = ("net", "netarrow") if event.thread == CLIENT else ("call", "arrow")
    comes_back = any(word in event.what for word in ("is told", "reads", "takes", "has all"))
    start, end = (kernel, x) if comes_back else (x, kernel)
    if event.thread == CLIENT:
        return _arrow(start, end, y, kind) + _label((x + kernel) / 2, y - 9, event.what, "middle")
    return _arrow(start, end, y, kind) + _label(x + 8, y, event.what, "start")


def _arrow(start: float, end: float, y: int, kind: tuple[str, str]) -> str:
    line, head = kind
    back = math.copysign(7, start - end)
    return (
        f'<path class="{line}" stroke-width="1.4" d="M{start} {y}H{end}"/>'
        f'<path class="{head}" d="M{end} {y}l{back} -4v8z"/>'
    )


def _label(x: float, y: int, text: str, anchor: str) -> str:
    short = wrap(text, _MAX_LABEL)[0] + ("..." if len(text) > _MAX_LABEL else "")
    return f'<text class="ink" x="{x}" y="{y + 4}" text-anchor="{anchor}">{escape(short)}</text>'


def _note(x: float, y: int, text: str) -> str:
    wide = 7 * len(text) + 16
    box = f'<rect class="box" x="{x - wide / 2}" y="{y - 10}" width="{wide}" height="21" rx="4"/>'
    return box + _label(x, y, text, "middle")
