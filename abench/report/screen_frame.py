"""One picture of the full-screen view: exactly as many lines as a terminal of any size has."""

from dataclasses import dataclass

from rich.text import Text

from abench.plan.plan import Plan
from abench.report import screen_panels as panels
from abench.report.advance import Advance
from abench.report.recent_seconds import RecentSeconds
from abench.stats.histogram import Histogram
from abench.stats.results import Results

MIN_TWO_COLUMNS = 72  # columns of a terminal that shows the histogram beside the charts
_GAP = 3
_MIN_CHARTS = 3  # lines: a title, a row of the rate and one of a percentile


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown: `report` as of now, None before the start, which is judged if it can be."""

    plan: Plan
    advance: Advance
    recent: RecentSeconds
    latencies: Histogram
    report: Results | None = None
    is_judged: bool = False
    ascii_only: bool = False


def frame(picture: Picture, keys: str, width: int, height: int) -> list[Text]:
    """Return the lines of `picture`, `height` of them, each at most `width` columns wide.

    The last one says what `keys` do.
    What a small terminal has no room for is left out: first the failures, then the verdict.
    """
    top = _top(picture, width)
    bottom = [Text(keys, "dim")]
    room = height - len(top) - len(bottom)
    details = _details(picture, width, max(0, min(room - _MIN_CHARTS, height // 3)))
    middle = _middle(picture, width, room - len(details)) if picture.report else []
    lines = [*top, *middle]
    lines += [Text()] * (height - len(lines) - len(details) - len(bottom))
    shown = [*lines, *details, *bottom][: max(0, height)]
    for line in shown:
        line.truncate(width, overflow="crop" if picture.ascii_only else "ellipsis")
    return shown


def _top(picture: Picture, width: int) -> list[Text]:
    """Return what is loaded, how far the run has come, and the rate."""
    plan, now = picture.plan, picture.advance
    target = plan.target.url if plan.method == "GET" else f"{plan.method} {plan.target.url}"
    lines = [panels.both_ends(Text(target, "bold"), now.text, width), _bar(picture, width)]
    if picture.report:
        lines.append(panels.totals(picture.report, picture.recent, width))
    return lines


def _bar(picture: Picture, width: int) -> Text:
    now, full = picture.advance, "=" if picture.ascii_only else "━"
    length = round(width * min(1.0, now.done / now.total)) if now.total else 0
    return Text.assemble((full * length, "green"), (full * (width - length), "dim"))


def _middle(picture: Picture, width: int, height: int) -> list[Text]:
    """Return charts over time, and beside them the distribution where there is room."""
    spaced = height > 2 * _MIN_CHARTS
    height -= 2 * spaced  # one empty line above and below
    if width < MIN_TWO_COLUMNS:
        lines = panels.over_time(picture.recent, width, height, ascii_only=picture.ascii_only)
    else:
        lines = _two_columns(picture, width, height)
    return [Text(), *lines, Text()] if spaced else lines


def _two_columns(picture: Picture, width: int, height: int) -> list[Text]:
    left_width = (width - _GAP) * 3 // 5
    right_width = width - _GAP - left_width
    ascii_only = picture.ascii_only
    left = panels.over_time(picture.recent, left_width, height, ascii_only=ascii_only)
    title = "response time" if picture.plan.schedule else "service time"
    right = panels.distribution(
        picture.latencies, title, right_width, height, ascii_only=ascii_only
    )
    right += [Text()] * (len(left) - len(right))
    for line in left:
        line.truncate(left_width, pad=True)
    return [Text.assemble(one, " " * _GAP, two) for one, two in zip(left, right, strict=False)]


def _details(picture: Picture, width: int, height: int) -> list[Text]:
    """Return the percentiles, outcomes and the verdict of the run so far in `height` lines."""
    report = picture.report
    if report is None or height < 1:
        return []
    verdict = panels.verdict(report if picture.is_judged else None, width, min(3, height))
    summary = [panels.summary_line(report, width)] if height > len(verdict) else []
    room = height - len(verdict) - len(summary)
    return [*summary, *panels.outcomes(report, width, room), *verdict]
