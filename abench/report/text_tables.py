"""The tables of the text report, and the bars beside them, for terminals of any width."""

from collections.abc import Collection, Iterator, Sequence

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from abench.stats.bins import bins
from abench.stats.breakdown import Row
from abench.stats.histogram import Histogram
from abench.stats.units import microseconds, significant

BARS = 10  # rows: as many as the table beside them has
MIN_BAR = 10  # columns: with less room there are no bars
MAX_BAR = 30
_MIN_LABELS = (24, 12)  # columns to which labels are cut: before columns are left out, and after
_BLOCKS = " ▏▎▍▌▋▊▉█"
_GAP = 3


def grid(padding: int, *justify: JustifyMethod) -> Table:
    """Return a table without lines: a column of labels, then one for each of `justify`."""
    table = Table.grid(padding=(0, padding))
    table.add_column(style="dim")
    for each in justify:
        table.add_column(justify=each, no_wrap=each == "right")
    return table


def _width(console: Console, options: ConsoleOptions, content: RenderableType) -> int:
    return Measurement.get(console, options.update(max_width=1000), content).maximum


class Rows:
    """A table of values by name, or one value per line where even that is too wide.

    `title` is the heading of the labels. Where there is no room for all columns, the `optional`
    ones are left out, one set after the other, and long labels are cut.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        rows: Sequence[Row],
        *,
        optional: Sequence[Collection[str]] = (),
    ) -> None:
        self._title = title
        self._names = names
        self._rows = rows
        self._optional = optional

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._fitting(console, options) or self._columns()
        for row in self._rows:
            if row.outcomes:
                yield Text(f"{self._cut(row.label, options.max_width // 2)}: {row.outcomes}", "red")

    def _fitting(self, console: Console, options: ConsoleOptions) -> Table | None:
        """Return the widest form that fits; None if none does."""
        longest = max((len(row.label) for row in self._rows), default=0)
        choices = list(self._choices())
        for least in _MIN_LABELS:
            for names in choices:
                whole = self._table(names, longest)
                room = longest + options.max_width - _width(console, options, whole)
                if room >= min(longest, least):
                    return self._table(names, room)
        return None

    def _choices(self) -> Iterator[Sequence[str]]:
        """Yield all columns, and then fewer and fewer."""
        names = self._names
        for left_out in ((), *self._optional):
            names = [name for name in names if name not in left_out]
            yield names

    def _table(self, names: Sequence[str], room: int) -> Table:
        """Return the table with these columns, and labels of at most `room` characters."""
        right: JustifyMethod = "right"
        table = grid(2, *[right] * len(names))
        table.add_row(self._title, *(Text(name, style="dim") for name in names))
        for row in self._rows:
            cells = dict(zip(self._names, row.cells, strict=True))
            table.add_row(Text(self._cut(row.label, room)), *(cells[name] for name in names))
        return table

    def _columns(self) -> Table:
        table = grid(2, "left", "right")
        for row in self._rows:
            table.add_row(Text(row.label or self._title))
            for name, value in zip(self._names, row.cells, strict=True):
                table.add_row("", Text(name, style="dim"), value)
        return table

    @staticmethod
    def _cut(label: str, room: int) -> str:
        """Return a label without its middle if it is too long: URLs differ at their ends."""
        if len(label) <= room:
            return label
        start = (room - 3) // 2
        return f"{label[:start]}...{label[start + 3 - room :]}"


class BesideBars:
    """A table, and the distribution of a histogram beside it where there is room."""

    def __init__(self, table: Table, histogram: Histogram) -> None:
        self._table = table
        self._histogram = histogram

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width - _width(console, options, self._table) - _GAP
        bars = self._bars(MAX_BAR, ascii_only=options.ascii_only)
        room -= _width(console, options, bars) - MAX_BAR
        if room < MIN_BAR or not self._histogram.counts:
            yield self._table
            return
        both = Table.grid(padding=(0, _GAP, 0, 0))
        both.add_row(self._table, self._bars(min(room, MAX_BAR), ascii_only=options.ascii_only))
        yield both

    def _bars(self, length: int, *, ascii_only: bool) -> Table:
        """Return a row for each bin: its end, a bar of at most `length` columns, its share."""
        found = bins(self._histogram, BARS)
        highest = max((one.values for one in found), default=1)
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_row(Text("up to", style="dim"), "", Text("share", style="dim"))
        for top, number in found:
            share = f"{significant(100 * number / self._histogram.count)} %" if number else ""
            drawn = bar(number / highest * length, ascii_only=ascii_only)
            table.add_row(microseconds(top), Text(f"{drawn:{length}}", style="cyan"), share)
        return table


def bar(length: float, *, ascii_only: bool) -> str:
    """Return a bar of so many columns, not all of it lost if it is short; empty for 0."""
    if ascii_only:
        return "#" * max(round(length), length > 0)
    eighths = max(round(8 * length), length > 0)
    return _BLOCKS[-1] * (eighths // 8) + _BLOCKS[eighths % 8].strip()
