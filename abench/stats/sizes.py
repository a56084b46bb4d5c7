"""The sizes of responses, as a distribution."""

from dataclasses import dataclass
from typing import Annotated, Literal

from abench.stats.derivation import Run
from abench.stats.figure import Figure, derived

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_TITLES = {"p50": "Median", "p90": "90th percentile", "p99": "99th percentile"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The bytes of each response, its headers included, of responses that were successes."""

    min: Annotated[int, Figure("Minimum", "Bytes, exact.", "bytes")]
    mean: Annotated[float, Figure("Mean", "Bytes, exact.", "bytes")]
    percentiles: Annotated[
        dict[str, int],
        Figure("Percentiles", "Bytes, at most 0.1 % too high.", "bytes", names=_TITLES),
    ]
    max: Annotated[int, Figure("Maximum", "Bytes, exact.", "bytes")]

    @property
    @derived("Unit", after="")
    def unit(self) -> Literal["bytes"]:
        """The unit of all values: bytes."""
        return "bytes"


SIZES = Figure(
    "Response sizes",
    "Bytes of each response to a success, headers included. Null where they are not told apart: "
    "with `--pipeline` and `--force`, and without a success.",
    "bytes",
    after="bytes_sent",
    later=True,
)


def response_sizes(run: Run) -> Sizes | None:
    """Return the sizes of the responses to successes, if they are known."""
    found = run.summary.sizes
    if found.min is None or found.mean is None or found.max is None:
        return None
    at = found.percentiles(PERCENTILES.values())
    named = {name: at[percent] or 0 for name, percent in PERCENTILES.items()}
    return Sizes(found.min, found.mean, named, found.max)
