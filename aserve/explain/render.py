"""Print a trace on the terminal, and draw it as an SVG from top to bottom."""

import math
from collections.abc import Iterator
from html import escape
from typing import TextIO

from aserve.explain.book import book_steps, takes_every_step
from aserve.explain.capture import RequestTrace
from aserve.explain.events import Activity, TraceEvent, is_client
from aserve.explain.lanes import Bar
from aserve.explain.timeline import build_timeline
from aserve.explain.workflows import WORKFLOWS

NO_STRACE = "strace is not installed: the system calls are missing (Debian: apt install strace)"

# Sizes in the SVG, in user units, which are pixels at its natural size.
_ROW_HEIGHT, _LANE_WIDTH, _TIME_WIDTH, _TOP, _MARGIN = 26, 290, 76, 92, 20
_CHARACTER = 6.9  # the most that one takes, on average
_MAX_LABEL = 100  # characters

# Where something comes from the kernel, the arrow points to the thread.
_FROM_KERNEL = frozenset(
    {
        Activity.WAIT,
        Activity.READ,
        Activity.ACCEPT,
        Activity.RECEIVE,
        Activity.PAUSE,
        Activity.READ_FILE,
        Activity.READ_SIGNALS,
        Activity.COMPLETE,
        Activity.ASK,
    }
)

_STYLE = """
svg { font: 12px system-ui, sans-serif; color-scheme: light dark }
.paper { fill: #fff } .ink { fill: #16202c } .quiet { fill: #5b6673 } .life { stroke: #c6cdd6 }
.box { fill: #eaf2fd; stroke: #0b62c4 } .call { stroke: #b45309 } .arrow { fill: #b45309 }
.net { stroke: #15803d } .netarrow { fill: #15803d } .head { font-weight: 600 }
.wait { stroke: #b07a00; stroke-width: 5 }
@media (prefers-color-scheme: dark) {
.paper { fill: #12171e } .ink { fill: #e6ebf1 } .quiet { fill: #9aa7b5 } .life { stroke: #3a4450 }
.box { fill: #1b2b40; stroke: #6cb1ff } .call { stroke: #f0a95b } .arrow { fill: #f0a95b }
.net { stroke: #6fd18b } .netarrow { fill: #6fd18b } .wait { stroke: #e0b04a } }
"""


def lane_names(trace: RequestTrace) -> dict[int, str]:
    """Return the names of clients and threads, clients first, then the main thread."""
    lanes = build_timeline(trace).lanes
    return {lane.thread: str(lane.name) for lane in lanes if lane.thread}


def print_trace(trace: RequestTrace, stream: TextIO, *, use_color: bool) -> None:
    """Print a line for each event: time, thread and text; system calls are indented."""
    names = lane_names(trace)
    width = max(map(len, names.values()))
    start = trace.events[0].at
    print(f"{trace.title}: {trace.request}, {trace.status}\n", file=stream)
    numbers = _print_book(trace, stream) if takes_every_step(trace) else None
    for position, event in enumerate(trace.events):
        name = names[event.thread].ljust(width)
        if numbers:
            name = f"{numbers[position] or ' '}  {name}"
        text = f"  {event.text}" if event.with_kernel else event.text
        if use_color:
            text = f"\x1b[{_color_code(event)}m{text}\x1b[0m"
        print(f"{_format_time(event.at - start):>9}  {name}  {text}".rstrip(), file=stream)
    print(f"\n{_summary(trace)}", file=stream)


def _print_book(trace: RequestTrace, stream: TextIO) -> list[int]:
    """Print the steps as books number them; return the number of each event, 0 for none."""
    for number, step in enumerate(WORKFLOWS[trace.model], 1):
        print(f"{number:>9}. {step}", file=stream)
    print(file=stream)
    return book_steps(trace)


def _color_code(event: TraceEvent) -> str:
    if is_client(event.thread):
        return "32"
    return "33" if event.with_kernel else "36"


def _format_time(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


def _summary(trace: RequestTrace) -> str:
    if not trace.has_syscalls:
        return NO_STRACE
    events = [event for event in trace.events if not is_client(event.thread)]
    calls = sum(bool(event.call) and not event.is_begin for event in events)
    count = len({event.thread for event in events})
    threads = "one thread" if count == 1 else f"{count} threads"
    note = "Tracing makes it many times slower: the order is right, the times are not."
    return f"{calls} system calls shown, by {threads}. {note}"


def write_svg(trace: RequestTrace, stream: TextIO) -> None:
    """Write the trace as an SVG: lanes for the clients, one for the kernel, one for each thread."""
    names = lane_names(trace)
    clients = sum(map(is_client, names))
    lanes = {one: number + (number >= clients) for number, one in enumerate(names)}
    columns = [*list(names.values())[:clients], "kernel", *list(names.values())[clients:]]
    title = f"aserve --model {trace.title}: {trace.request}, {trace.status}"
    width = max(_right_edge(trace, lanes, clients), _text_width(title) * 1.4) + _MARGIN
    width = math.ceil(max(width, _TIME_WIDTH + _LANE_WIDTH * len(columns)))
    height = _TOP + _ROW_HEIGHT * (len(trace.events) + 2)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = escape(title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="ink head" x="{_MARGIN}" y="30" font-size="16">{label}</text>',
        *_lifelines(columns, height),
        *_waits(trace, lanes),
        *_rows(trace, lanes, clients),
        f'<text class="quiet" x="{_MARGIN}" y="{height - 16}">{escape(_summary(trace))}</text>',
        "</svg>\n",
    ]
    stream.write("\n".join(parts))


def _lane_center(lane: int) -> float:
    return _TIME_WIDTH + _LANE_WIDTH * (lane + 0.5)


def _text_width(text: str) -> float:
    return _CHARACTER * len(text)


def _right_edge(trace: RequestTrace, lanes: dict[int, int], kernel: int) -> float:
    """Return how far the labels reach."""
    return max(_label_end(event, lanes, kernel) for event in trace.events)


def _label_end(event: TraceEvent, lanes: dict[int, int], kernel: int) -> float:
    x, length = _lane_center(lanes[event.thread]), _text_width(_shortened(event.text))
    if is_client(event.thread):
        return (x + _lane_center(kernel)) / 2 + length / 2
    return x + 8 + length if event.with_kernel else x + length / 2 + 8


def _lifelines(columns: list[str], height: int) -> Iterator[str]:
    for lane, name in enumerate(columns):
        x = _lane_center(lane)
        yield f'<text class="ink head" x="{x}" y="62" text-anchor="middle">{escape(name)}</text>'
        yield f'<path class="life" d="M{x} 74V{height - _ROW_HEIGHT * 1.6:.0f}"/>'


def _waits(trace: RequestTrace, lanes: dict[int, int]) -> Iterator[str]:
    """Yield a bar for each stretch in which a thread waited."""
    timeline = build_timeline(trace)
    for lane, first, last, bar in timeline.spans:
        thread = timeline.lanes[lane].thread
        if bar is Bar.WAIT and thread and not is_client(thread):
            x, top = _lane_center(lanes[thread]), _TOP + _ROW_HEIGHT * first
            yield f'<path class="wait" d="M{x} {top}v{_ROW_HEIGHT * (last - first + 1)}"/>'


def _rows(trace: RequestTrace, lanes: dict[int, int], kernel: int) -> Iterator[str]:
    start = trace.events[0].at
    for number, event in enumerate(trace.events):
        y = _TOP + _ROW_HEIGHT * number + _ROW_HEIGHT // 2
        time = _format_time(event.at - start)
        x = _TIME_WIDTH - 8
        row = _row(event, lanes, kernel, y)
        yield f'<text class="quiet" x="{x}" y="{y + 4}" text-anchor="end">{time}</text>'
        yield f"<g><title>{escape(event.call or event.text)}</title>{row}</g>"


def _row(event: TraceEvent, lanes: dict[int, int], kernel_lane: int, y: int) -> str:
    x, kernel = _lane_center(lanes[event.thread]), _lane_center(kernel_lane)
    if not event.with_kernel:
        return _note(x, y, event.text)
    if event.is_begin:
        return _label(x + 8, y, event.text, "start", "quiet")
    is_clients = is_client(event.thread)
    start, end = (kernel, x) if event.activity in _FROM_KERNEL else (x, kernel)
    arrow = _arrow(start, end, y, ("net", "netarrow") if is_clients else ("call", "arrow"))
    if is_clients:
        return arrow + _label((x + kernel) / 2, y - 9, event.text, "middle")
    return arrow + _label(x + 8, y, event.text, "start")


def _arrow(start: float, end: float, y: int, classes: tuple[str, str]) -> str:
    line, head = classes
    tip = math.copysign(7, start - end)
    return (
        f'<path class="{line}" stroke-width="1.4" d="M{start} {y}H{end}"/>'
        f'<path class="{head}" d="M{end} {y}l{tip} -4v8z"/>'
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 3]}..."


def _label(x: float, y: int, text: str, anchor: str, style: str = "ink") -> str:
    label = escape(_shortened(text))
    return f'<text class="{style}" x="{x}" y="{y + 4}" text-anchor="{anchor}">{label}</text>'


def _note(x: float, y: int, text: str) -> str:
    width = _text_width(_shortened(text)) + 16
    box = f'<rect class="box" x="{x - width / 2}" y="{y - 10}" width="{width}" height="21" rx="4"/>'
    return box + _label(x, y, text, "middle")
