"""How often each byte of a file was delivered, and so how many whole copies were."""

import json
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import NamedTuple, Self

MAX_RUNS = 256
"""A download in parallel pieces has two or three for each of them."""


class Run(NamedTuple):
    """Bytes that follow each other, and how often each of them was delivered."""

    size: int
    times: int


class Coverage(NamedTuple):
    """The bytes of one state of a file, as runs from the first byte to the last.

    Of the pieces that were delivered as many whole copies can be made as the rarest byte was
    delivered: that is what counts as downloads, however the pieces were asked for. A file without
    bytes, and one of unknown length, is one byte here, which is delivered with the end.
    """

    runs: tuple[Run, ...]

    @classmethod
    def of_size(cls, size: int) -> Self:
        """Return the coverage of a file of which nothing was delivered. size: at least 1."""
        return cls((Run(size, 0),))

    @property
    def copies(self) -> int:
        """How many whole copies were delivered."""
        return min(run.times for run in self.runs)

    def add(self, start: int, stop: int) -> Self:
        """Return the same after the bytes [start, stop) were delivered once more.

        Where that takes more runs than MAX_RUNS, some bytes are taken for delivered that were not,
        as few as can be: a limit of downloads is never exceeded by that.
        """
        runs = _joined(_split(self.runs, start, stop))
        while len(runs) > MAX_RUNS:
            runs = _joined(_rounded_up(runs))
        return type(self)(runs)

    def without_copies(self) -> Self:
        """Return the same without the bytes of whole copies."""
        copies = self.copies
        return type(self)(tuple(Run(size, times - copies) for size, times in self.runs))

    def encode(self) -> str:
        """Return the runs as a text."""
        return json.dumps(self.runs, separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the coverage of an encoded text."""
        return cls(tuple(Run(*pair) for pair in json.loads(text)))


def _split(runs: tuple[Run, ...], start: int, stop: int) -> Iterator[Run]:
    """Yield the runs, cut at both ends of a range, in which each byte counts once more."""
    position = 0
    for size, times in runs:
        end = position + size
        cuts = sorted({position, end, *(cut for cut in (start, stop) if position < cut < end)})
        for left, right in pairwise(cuts):
            yield Run(right - left, times + (start <= left and right <= stop))
        position = end


def _joined(runs: Iterator[Run]) -> tuple[Run, ...]:
    grouped = groupby(runs, key=lambda run: run.times)
    return tuple(Run(sum(run.size for run in group), times) for times, group in grouped)


def _rounded_up(runs: tuple[Run, ...]) -> Iterator[Run]:
    """Yield the runs, of which one counts as much as the one beside it: the least possible."""
    costs = []
    for index, (left, right) in enumerate(pairwise(runs)):
        lower = index if left.times < right.times else index + 1
        costs.append((runs[lower].size * abs(left.times - right.times), lower, index))
    _, lower, index = min(costs)
    times = max(runs[index].times, runs[index + 1].times)
    for at, run in enumerate(runs):
        yield run._replace(times=times) if at == lower else run
