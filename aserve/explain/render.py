"""Print a trace on the terminal, and draw it as an SVG from top to bottom."""

import math
from collections.abc import Iterator
from html import escape
from textwrap import wrap
from typing import TextIO

from aserve.explain.capture import RequestTrace
from aserve.explain.events import CLIENT, TraceEvent

_NO_STRACE = "strace is not installed: the system calls are missing (Debian: apt install strace)"

# Sizes in the SVG, in user units, which are pixels at its natural size.
_ROW_HEIGHT, _LANE_WIDTH, _TIME_WIDTH, _TOP, _MARGIN = 26, 290, 76, 92, 20
_MAX_LABEL = 52  # characters

# Texts of events in which something comes from the kernel: their arrows point to the thread.
_FROM_KERNEL = ("wakes up", "reads", "accepts", "receives", "completion", "interrupted")

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


def thread_names(trace: RequestTrace) -> dict[int, str]:
    """Return the names of the threads, in the order of their first events."""
    order = dict.fromkeys(event.thread for event in trace.events if event.thread != CLIENT)
    names = {"MainThread": "main thread"}
    return {
        thread: names.get(
            trace.threads.get(thread, ""), trace.threads.get(thread, "library thread")
        )
        for thread in order
    }


def print_trace(trace: RequestTrace, stream: TextIO, *, use_color: bool) -> None:
    """Print a line for each event: time, thread and text; system calls are indented."""
    names = {CLIENT: "client", **thread_names(trace)}
    width = max(map(len, names.values()))
    start = trace.events[0].at
    print(f"{trace.model}: GET {trace.target}, {trace.status}\n", file=stream)
    for event in trace.events:
        name = names[event.thread].ljust(width)
        text = f"  {event.text}" if event.with_kernel else event.text
        if use_color:
            text = f"\x1b[{_color_code(event)}m{text}\x1b[0m"
        print(f"{_format_time(event.at - start):>9}  {name}  {text}".rstrip(), file=stream)
    print(f"\n{_summary(trace)}", file=stream)


def _color_code(event: TraceEvent) -> str:
    if event.thread == CLIENT:
        return "32"
    return "33" if event.with_kernel else "36"


def _format_time(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _summary(trace: RequestTrace) -> str:
    if not trace.has_syscalls:
        return _NO_STRACE
    events = [event for event in trace.events if event.thread != CLIENT]
    calls = sum(bool(event.detail) for event in events)
    count = len({event.thread for event in events})
    threads = "one thread" if count == 1 else f"{count} threads"
    note = "Tracing makes it many times slower: the order is right, the times are not."
    return f"{calls} system calls shown, by {threads}. {note}"


def write_svg(trace: RequestTrace, stream: TextIO) -> None:
    """Write the trace as an SVG: a lane for the client, one for the kernel, one for each thread."""
    lanes = {CLIENT: 0, **{thread: 2 + lane for lane, thread in enumerate(thread_names(trace))}}
    width = _TIME_WIDTH + _LANE_WIDTH * (len(lanes) + 1) + _LANE_WIDTH // 3
    height = _TOP + _ROW_HEIGHT * (len(trace.events) + 2)
    title = escape(f"aserve --model {trace.model}: GET {trace.target}, {trace.status}")
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="ink head" x="{_MARGIN}" y="30" font-size="16">{title}</text>',
        *_lifelines(trace, height),
        *_rows(trace, lanes),
        f'<text class="quiet" x="{_MARGIN}" y="{height - 16}">{escape(_summary(trace))}</text>',
        "</svg>\n",
    ]
    stream.write("\n".join(parts))


def _lane_center(lane: int) -> float:
    return _TIME_WIDTH + _LANE_WIDTH * (lane + 0.5)


def _lifelines(trace: RequestTrace, height: int) -> Iterator[str]:
    for lane, name in enumerate(("client", "kernel", *thread_names(trace).values())):
        x = _lane_center(lane)
        yield f'<text class="ink head" x="{x}" y="62" text-anchor="middle">{escape(name)}</text>'
        yield f'<path class="life" d="M{x} 74V{height - _ROW_HEIGHT * 1.6:.0f}"/>'


def _rows(trace: RequestTrace, lanes: dict[int, int]) -> Iterator[str]:
    start = trace.events[0].at
    for number, event in enumerate(trace.events):
        y = _TOP + _ROW_HEIGHT * number + _ROW_HEIGHT // 2
        time = _format_time(event.at - start)
        x = _TIME_WIDTH - 8
        yield f'<text class="quiet" x="{x}" y="{y + 4}" text-anchor="end">{time}</text>'
        yield f"<g><title>{escape(event.detail or event.text)}</title>{_row(event, lanes, y)}</g>"


def _row(event: TraceEvent, lanes: dict[int, int], y: int) -> str:
    x, kernel = _lane_center(lanes[event.thread]), _lane_center(1)
    if not event.with_kernel:
        return _note(x, y, event.text)
    classes = ("net", "netarrow") if event.thread == CLIENT else ("call", "arrow")
    from_kernel = any(word in event.text for word in _FROM_KERNEL)
    start, end = (kernel, x) if from_kernel else (x, kernel)
    if event.thread == CLIENT:
        return _arrow(start, end, y, classes) + _label(
            (x + kernel) / 2, y - 9, event.text, "middle"
        )
    return _arrow(start, end, y, classes) + _label(x + 8, y, event.text, "start")


def _arrow(start: float, end: float, y: int, classes: tuple[str, str]) -> str:
    line, head = classes
    tip = math.copysign(7, start - end)
    return (
        f'<path class="{line}" stroke-width="1.4" d="M{start} {y}H{end}"/>'
        f'<path class="{head}" d="M{end} {y}l{tip} -4v8z"/>'
    )


def _label(x: float, y: int, text: str, anchor: str) -> str:
    short = wrap(text, _MAX_LABEL)[0] + ("..." if len(text) > _MAX_LABEL else "")
    return f'<text class="ink" x="{x}" y="{y + 4}" text-anchor="{anchor}">{escape(short)}</text>'


def _note(x: float, y: int, text: str) -> str:
    width = 7 * len(text) + 16
    box = f'<rect class="box" x="{x - width / 2}" y="{y - 10}" width="{width}" height="21" rx="4"/>'
    return box + _label(x, y, text, "middle")
