"""What a search for a server's capacity has found, in sentences and as a table."""

import signal
from collections.abc import Iterator
from importlib import import_module

from abench.report.answer import Answer
from abench.stats.capacity import Capacity, End, Outcome, Step
from abench.stats.scaling import Scaling
from abench.stats.units import decimal, duration, microseconds, plural, significant

STEP_NAMES = ("offered/s", "achieved/s", "p50", "p99", "errors", "server", "")


def describe(found: Capacity) -> Answer:
    """Return what is shown of a search."""
    return Answer(
        f"Capacity of {found.url}",
        " and ".join(found.objectives),
        found.outcome is Outcome.FOUND,
        sentences(found),
        list(_figures(found)),
        STEP_NAMES,
        table(found),
        lambda: import_module("abench.report.capacity_plots").plots(found),
    )


def _figures(found: Capacity) -> Iterator[tuple[str, str]]:
    if found.is_known and found.interval:
        low, middle, high = map(rounded, found.interval)
        yield "requests/s", middle
        yield "95 % sure", f"{low} to {high}"
    else:
        yield "at least", rounded(found.at_least)
    if found.knee:
        yield "knee", f"{rounded(found.knee.offered)}/s"
        yield "p99 at the knee", microseconds(found.knee.p99_us)
    if found.client_per_sec:
        yield "this client", f"{rounded(found.client_per_sec)}/s"
    yield "steps", str(len(found.steps))


def rounded(rate: float) -> str:
    """Return a rate with three digits: more are not known."""
    return decimal(float(f"{rate:.3g}"))


def sentences(found: Capacity) -> list[str]:
    """Return the answer, and what to know of it, a sentence each."""
    return [
        _answer(found),
        *_why(found),
        *_doubts(found),
        *_client(found),
        *_knee(found),
        *_advice(found),
    ]


def _answer(found: Capacity) -> str:
    promised = " and ".join(found.objectives)
    if found.interval is None:
        return "No step was made: nothing is known."
    low, middle, high = map(rounded, found.interval)
    if found.outcome is Outcome.NO_RATE_HOLDS:
        lowest = rounded(min(step.offered for step in found.steps))
        return f"No rate was found that holds {promised}: not even {lowest} requests/s, the lowest."
    if found.outcome is Outcome.EVERY_RATE_HOLDS:
        return (
            f"At least {rounded(found.highest_held)} requests/s hold {promised}: no step broke "
            "them, so the capacity is higher."
        )
    sure = f"95 % sure it is between {low} and {high}"
    if found.outcome is Outcome.CLIENT:
        return (
            f"{middle} requests/s hold {promised} with this client ({sure}): "
            "above it this client is the limit, and the server may hold more."
        )
    return f"{middle} requests/s hold {promised}: {sure}."


def _why(found: Capacity) -> Iterator[str]:
    step = found.why
    if step is None:
        return
    lost = " and ".join(name if name != "rate" else "the rate" for name in step.metrics)
    hold = "holds" if len(step.metrics) == 1 else "hold"
    at = f"at {rounded(step.offered)}/s {', '.join(step.broken)}"
    reason = step.cause.because()
    if found.outcome is Outcome.NO_RATE_HOLDS:
        yield f"{lost} is broken there ({at}){reason}."
    elif found.interval and step.offered < found.interval.middle:
        yield f"Close to it {lost} did not always hold ({at}){reason}."
    else:
        yield f"Above it {lost} no longer {hold} ({at}){reason}."


_ENDS = {
    End.TIME: "Its time of {limit} was over after {steps}: a longer -t narrows the interval.",
    End.SIGNAL: "It was interrupted by {signal} after {steps}: this is what is known so far.",
    End.UNREACHABLE: "It ended after {steps}, since the server no longer accepts: {problem}.",
    End.FAULT: "It ended after {steps} by an error of abench itself: {problem}.",
}


def describe_end(found: Capacity | Scaling, noun: str, number: int) -> Iterator[str]:
    """Yield a sentence if a search ended before it was sure, after a number of steps or runs."""
    if found.end is End.SIGNAL and not number:
        yield "It was interrupted."
    elif template := _ENDS.get(found.end):
        yield template.format(
            limit=duration(found.limit_s),
            steps=plural(number, noun),
            signal=signal.Signals(found.stopped_by).name if found.stopped_by else "",
            problem=found.problem,
        )


def _doubts(found: Capacity) -> Iterator[str]:
    yield from describe_end(found, "step", len(found.steps))
    if odd := found.odd:
        rates = ", ".join(f"{rounded(step.offered)}/s" for step in odd)
        share = f"{len(odd)} of {plural(len(found.steps), 'step')}"
        yield f"{share} contradict the others (at {rates}): something has disturbed the server."


def _client(found: Capacity) -> Iterator[str]:
    known = found.client_per_sec
    if known is None or found.interval is None:
        return
    reach = f"This client reaches {rounded(known)}/s with a server that does nothing"
    if found.is_near_the_client:
        yield f"{reach}, which is close: it may be a part of the limit."
    else:
        yield f"{reach}."


def _knee(found: Capacity) -> Iterator[str]:
    if found.knee:
        yield (
            f"The knee is near {rounded(found.knee.offered)}/s: beyond it, response times grow "
            "faster than the rate."
        )


def _advice(found: Capacity) -> Iterator[str]:
    if found.why and found.why.cause.advice:
        yield f"To try next: {found.why.cause.advice[0]}"


def step_row(step: Step) -> tuple[str, ...]:
    """Return the cells of a step, for the columns STEP_NAMES."""
    cores = step.cause.server_cores
    return (
        decimal(step.offered),
        decimal(step.achieved),
        microseconds(step.p50_us),
        microseconds(step.p99_us),
        f"{significant(100 * step.error_share)} %" if step.error_share else "0",
        "-" if cores is None else f"{100 * cores:.0f} %",
        "held" if step.held else f"not {', '.join(map(_metric, step.metrics))}",
    )


def _metric(objective: str) -> str:
    return objective.partition("<")[0].strip()


def table(found: Capacity) -> list[tuple[str, ...]]:
    """Return a row of cells for each step, by their rates."""
    return [step_row(step) for step in sorted(found.steps, key=lambda one: one.offered)]


def progress(number: int, step: Step, low: float, high: float) -> str:
    """Return a line that says what a step of a running search has found."""
    outcome = "held" if step.held else ", ".join(step.broken)
    between = f"between {rounded(low)} and {rounded(high)}"
    return f"step {number}  {rounded(step.offered)}/s  {outcome}  now {between}"
