"""Bars of characters, for terminals and logs."""

import math
from collections.abc import Iterable, Sequence

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " ..:::###"  # for terminals that cannot show the others


def sparkline(values: Iterable[float]) -> str:
    """Return a bar for each value, scaled to the highest of them; none is empty."""
    values = list(values)
    highest, bars = max(values, default=0) or 1, BARS[1:]
    return "".join(bars[min(len(bars) - 1, int(value / highest * len(bars)))] for value in values)


def bar_rows(values: Sequence[float], height: int, bars: str = BARS) -> list[str]:
    """Return `height` rows, the upper one first, with a column for each value from 0 up.

    The highest value fills its column; every other value above 0 has at least a trace in it.
    """
    steps = len(bars) - 1
    highest = max(values, default=0) or 1
    levels = [math.ceil(value / highest * height * steps) for value in values]
    return [
        "".join(bars[min(max(level - row * steps, 0), steps)] for level in levels)
        for row in reversed(range(height))
    ]
