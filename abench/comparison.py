"""Two runs side by side: how much they differ, and how sure one can be of it.

Intervals are by the block bootstrap. A run is a sequence of blocks, each with its length, its
successes and the distribution of their latencies; so many blocks as there are are drawn from it,
again and again, and what is derived from each draw lies where the figure itself may as well have
lain. Blocks of one run are stretches of it, so long that there are at most MOST_BLOCKS: what
happens in a second depends on the second before it, less so on the stretch before. Of repeated
runs, each is a block: between them is where most of the chance is.
"""

import operator
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from abench.errors import ParameterError
from abench.histogram import Histogram
from abench.moments import Moment
from abench.report.derived import Report
from abench.report.units import signed, significant
from abench.summary import Summary

DRAWS = 1_000
SURE = 0.95
MOST_BLOCKS = 40
LEAST_BLOCKS = 3
LEAST_LENGTH_S = 0.5  # a second that the run ended in is too short to say anything
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_SEED = 20_260_101
_COARSE_BITS = 7  # buckets of less than 1 %: finer than any interval


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a run, or a whole one."""

    length_s: float
    succeeded: int
    latencies: Histogram


@dataclass(frozen=True, slots=True)
class Difference:
    """How much B is above A, in percent of A, and between what it lies in 95 of 100 cases.

    `low` and `high` are None where there are too few blocks to tell. `more_is_better` for rates.
    """

    name: str
    before: float
    after: float
    percent: float
    low: float | None
    high: float | None
    more_is_better: bool

    @property
    def is_sure(self) -> bool:
        """Whether there is a difference, as far as chance is concerned."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def worse_by(self) -> float:
        """By how many percent B is worse; below 0 if it is better."""
        return -self.percent if self.more_is_better else self.percent

    def fails(self, tolerate: float) -> bool:
        """Whether it is worse by more than `tolerate` percent, and surely not by chance alone."""
        return self.worse_by > tolerate and (self.is_sure or self.low is None)


def compare(before: Sequence[Report], after: Sequence[Report]) -> list[Difference]:
    """Return how the runs `after` differ from those `before`: pages per second, and percentiles.

    Raises ParameterError when there is nothing to compare. The same reports give the same
    intervals.
    """
    scheduled = {bool(report.response) for report in (*before, *after)}
    if len(scheduled) > 1:
        raise ParameterError("compare", "one had a schedule, and the other not")
    sides = _blocks(before), _blocks(after)
    if not all(sum(block.succeeded for block in side) for side in sides):
        raise ParameterError("compare", "one of them has no successes")
    enough = min(map(len, sides)) >= LEAST_BLOCKS
    urns = [_Urn(side, seed) for seed, side in enumerate(sides)]
    found = [urn.whole() for urn in urns]
    drawn = [urn.draw(DRAWS if enough else 0) for urn in urns]
    return [_difference(name, found, drawn) for name in ("pages/sec", *PERCENTILES)]


Figures = dict[str, float]


def _difference(
    name: str, found: Sequence[Figures], drawn: Sequence[Sequence[Figures]]
) -> Difference:
    before, after = (figures[name] for figures in found)
    changes = sorted(
        _percent(one[name], other[name]) for one, other in zip(*drawn, strict=True) if one[name]
    )
    edge = int(len(changes) * (1 - SURE) / 2)
    return Difference(
        name=name,
        before=before,
        after=after,
        percent=_percent(before, after),
        low=changes[edge] if changes else None,
        high=changes[-1 - edge] if changes else None,
        more_is_better=name == "pages/sec",
    )


def _percent(before: float, after: float) -> float:
    return 100 * (after / before - 1) if before else 0.0


def _blocks(reports: Sequence[Report]) -> list[Block]:
    if len(reports) >= LEAST_BLOCKS:
        return [
            Block(report.duration_s, report.succeeded, _latencies(report.summary))
            for report in reports
        ]
    seconds = [second for report in reports for second in _seconds(report)]
    together = -(-len(seconds) // MOST_BLOCKS) or 1
    return [
        _joined(seconds[first : first + together]) for first in range(0, len(seconds), together)
    ]


def _seconds(report: Report) -> Iterable[Block]:
    for second in report.series:
        if second.length_s >= LEAST_LENGTH_S:
            moment = report.summary.series.at(second.at_s)
            yield Block(second.length_s, second.succeeded, _latencies(moment))


def _latencies(counted: Summary | Moment) -> Histogram:
    """Return response times where there are any, and else service times."""
    return counted.response if counted.response.counts else counted.service


def _joined(blocks: Sequence[Block]) -> Block:
    latencies = Histogram()
    for block in blocks:
        latencies.merge(block.latencies)
    length_s = sum(block.length_s for block in blocks)
    return Block(length_s, sum(block.succeeded for block in blocks), latencies)


class _Urn:
    """Draws from the blocks of one side. A distribution is a list of counts, all of one grid."""

    def __init__(self, blocks: Sequence[Block], seed: int) -> None:
        self._seed = _SEED + seed  # each side has a chance of its own
        self._blocks = blocks
        self._grid = sorted({_coarse(us) for block in blocks for us in block.latencies.counts})
        places = {us: place for place, us in enumerate(self._grid)}
        self._counts = []
        for block in blocks:
            counts = [0] * len(self._grid)
            for us, count in block.latencies.counts.items():
                counts[places[_coarse(us)]] += count
            self._counts.append(counts)

    def whole(self) -> Figures:
        """Return the figures of all blocks together, as fine as they were counted."""
        joined = _joined(self._blocks)
        found = joined.latencies.percentiles(PERCENTILES.values())
        named = {name: float(found[percent] or 0) for name, percent in PERCENTILES.items()}
        return {"pages/sec": joined.succeeded / joined.length_s, **named}

    def draw(self, times: int) -> list[Figures]:
        """Return the figures of so many draws."""
        choose = random.Random(self._seed).choices  # noqa: S311 - nothing here is a secret
        every = range(len(self._blocks))
        return [self._figures(choose(every, k=len(every))) for _ in range(times)]

    def _figures(self, chosen: Sequence[int]) -> Figures:
        length_s = sum(self._blocks[one].length_s for one in chosen)
        succeeded = sum(self._blocks[one].succeeded for one in chosen)
        counts = [0] * len(self._grid)
        for one in chosen:
            counts = list(map(operator.add, counts, self._counts[one]))
        return {"pages/sec": succeeded / length_s, **self._percentiles(counts)}

    def _percentiles(self, counts: Sequence[int]) -> Figures:
        whole, so_far, found = sum(counts), 0, {}
        wanted = iter(PERCENTILES.items())
        name, percent = next(wanted)
        for us, count in zip(self._grid, counts, strict=True):
            so_far += count
            while so_far * 100 >= percent * whole:
                found[name] = float(us)
                name, percent = next(wanted, ("", 101.0))
                if not name:
                    return found
        return found


def _coarse(us: int) -> int:
    shift = us.bit_length() - _COARSE_BITS
    return us >> shift << shift if shift > 0 else us


def sentence(difference: Difference) -> str:
    """Say a difference in words: `12 % more pages/s, 95 % sure it is between 9 and 15`."""
    size, up = abs(difference.percent), difference.percent > 0
    if difference.more_is_better:
        what = f"{significant(size)} % {'more' if up else 'fewer'} pages/s"
    else:
        what = f"{significant(size)} % {'slower' if up else 'faster'} at {difference.name}"
    if difference.low is None or difference.high is None:
        return f"{what}; too few seconds or runs to say how sure that is"
    if not difference.is_sure:
        between = f"{signed(difference.low)} to {signed(difference.high)} %"
        return f"{difference.name}: no difference that is sure, {between}"
    low, high = sorted((abs(difference.low), abs(difference.high)))
    return f"{what}, 95 % sure it is between {significant(low)} and {significant(high)}"
