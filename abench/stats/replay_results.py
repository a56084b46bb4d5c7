"""What was replayed of a log, and what was not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from abench.plan.log_entries import MAX_NUMBERS, LeftOut, list_numbers
from abench.stats.derivation import Run
from abench.stats.figure import Figure
from abench.stats.units import count, plural


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The log that a run has replayed. Of HAR and of arrays, lines are their entries."""

    requests: Annotated[
        int, Figure("Requests", "Requests of the log that can be replayed.", "requests")
    ]
    unsafe: Annotated[
        int,
        Figure("Unsafe", "Lines with a method that would change something again.", "lines"),
    ]
    no_request: Annotated[
        int,
        Figure("No request", "Lines of what was no request for a resource of the server.", "lines"),
    ]
    elsewhere: Annotated[
        int,
        Figure(
            "Elsewhere",
            "Entries of a recording for other hosts, or that a browser's cache had answered.",
            "lines",
        ),
    ]
    not_understood: Annotated[
        int, Figure("Not understood", "Lines of an unknown format, or damaged.", "lines")
    ]
    numbers: Annotated[
        tuple[int, ...],
        Figure(
            "First not understood",
            "The numbers of the first lines that are not understood, from 1.",
            key="first_not_understood",
            schema={"maxItems": MAX_NUMBERS},
        ),
    ]


def replay(run: Run) -> ReplayResult | None:
    """Return what was replayed; None without a log."""
    if run.plan.replay is None:
        return None
    left = run.plan.replay.left_out
    return ReplayResult(
        len(run.plan.replay.entries),
        left.unsafe,
        left.no_request,
        left.elsewhere,
        left.not_understood,
        left.numbers,
    )


def remarks(found: ReplayResult | None) -> Iterator[str]:
    """Yield what a reader must know of a replay."""
    if found and (left_out := describe_left_out(found)):
        yield f"{left_out}."


def describe_left_out(left: ReplayResult | LeftOut) -> str:
    """Return how many lines of a log were left out, and why; empty if none was."""
    reasons = {
        "with an unsafe method": left.unsafe,
        "without a request": left.no_request,
        "for other hosts or from a cache": left.elsewhere,
    }
    parts = [f"{count(number)} {what}" for what, number in reasons.items() if number]
    if left.not_understood:
        numbers = list_numbers(left.numbers, left.not_understood)
        parts.append(f"{count(left.not_understood)} not understood ({numbers})")
    total = left.unsafe + left.no_request + left.elsewhere + left.not_understood
    return f"{plural(total, 'line')} of the log left out: {', '.join(parts)}" if parts else ""
