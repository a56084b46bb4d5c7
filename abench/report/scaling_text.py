"""What closed loops with more and more connections have shown, in sentences and as a table."""

import math
from collections.abc import Iterator
from importlib import import_module

from abench.report.answer import Answer
from abench.report.capacity_text import describe_end, rounded
from abench.stats.scalability import NEEDED, Scalability
from abench.stats.scaling import Point, Scaling
from abench.stats.units import count, decimal, microseconds, plural, significant

POINT_NAMES = ("connections", "pages/s", "law", "p50", "p99", "errors", "server", "")
_GOOD_FIT = 0.9


def describe(found: Scaling) -> Answer:
    """Return what is shown of a search."""
    return Answer(
        f"Capacity of {found.url} by connections",
        " and ".join(found.objectives) or "closed loops",
        found.law is not None and found.law.fit >= _GOOD_FIT,
        sentences(found),
        list(_figures(found)),
        POINT_NAMES,
        table(found),
        lambda: import_module("abench.report.scaling_plots").plots(found),
    )


def _figures(found: Scaling) -> Iterator[tuple[str, str]]:
    law, interval = found.law, found.interval
    if law and interval:
        low, middle, high = map(rounded, interval)
        yield "requests/s", middle
        yield "95 % sure", f"{low} to {high}"
        yield "connections", count(found.best)
        yield "contention", _percent(law.contention)
        yield "coherency", _percent(law.coherency)
    if found.client_per_sec:
        yield "this client", f"{rounded(found.client_per_sec)}/s"


def sentences(found: Scaling) -> list[str]:
    """Return the answer, and what to know of it, a sentence each."""
    law, interval = found.law, found.interval
    if law is None or interval is None:
        missing = f"The law needs {NEEDED} different numbers of connections: nothing is known."
        return [missing, *describe_end(found, "run", len(found.points))]
    low, middle, high = map(rounded, interval)
    most = ", the most that were tried" if law.peak >= found.most else ""
    where = f"with {plural(found.best, 'connection')}{most}"
    return [
        f"{middle} requests/s at most, {where}: 95 % sure it is between {low} and {high}.",
        f"One connection gets {rounded(law.per_connection)} requests/s.",
        _contention(law),
        _coherency(law),
        _fit(law),
        *_objectives(found),
        *describe_end(found, "run", len(found.points)),
    ]


def _contention(law: Scalability) -> str:
    if not law.contention:
        return "Contention 0: no part of the work waits for another one."
    limit = rounded(law.per_connection / law.contention)
    return (
        f"Contention {_percent(law.contention)}: this share of the work is done for one request at "
        "a time, as behind a lock or on one CPU, so that no number of connections gets more than "
        f"{limit}/s."
    )


def _coherency(law: Scalability) -> str:
    if math.isinf(law.peak):
        return "Coherency 0: connections do not slow each other down otherwise."
    return (
        f"Coherency {_percent(law.coherency)}: what a request costs more for each other one under "
        "way, as when they fight for caches and memory; so the rate falls beyond "
        f"{plural(round(law.peak), 'connection')}."
    )


def _fit(law: Scalability) -> str:
    explained = f"The law explains {significant(100 * max(law.fit, 0.0))} % of the differences"
    if law.fit >= _GOOD_FIT:
        return f"{explained} between the numbers of connections."
    return f"{explained} only: something else than these two decides, so do not trust it."


def _percent(share: float) -> str:
    return f"{significant(100 * share)} %"


def _objectives(found: Scaling) -> Iterator[str]:
    if not found.objectives:
        return
    promised = " and ".join(found.objectives)
    held = found.widest_held
    if held == found.most:
        yield f"{promised} held up to {plural(held, 'connection')}, the most that were tried."
        return
    first = min((p for p in found.points if p.broken), key=lambda point: point.connections)
    broken = f"with {count(first.connections)} {', '.join(first.broken)}"
    before = f"{promised} held up to {plural(held, 'connection')}" if held else f"{promised} broke"
    yield f"{before}: {broken}."


def table(found: Scaling) -> list[tuple[str, ...]]:
    """Return a row of cells for each closed loop, by their connections."""
    law = found.law
    return [_row(point, law) for point in sorted(found.points, key=lambda p: p.connections)]


def _row(point: Point, law: Scalability | None) -> tuple[str, ...]:
    cores = point.cause.server_cores
    return (
        count(point.connections),
        decimal(point.pages_per_sec),
        decimal(law.rate(point.connections)) if law else "-",
        microseconds(point.p50_us),
        microseconds(point.p99_us),
        f"{significant(100 * point.error_share)} %" if point.error_share else "0",
        "-" if cores is None else f"{100 * cores:.0f} %",
        f"not {', '.join(point.metrics)}" if point.metrics else "",
    )


def progress(point: Point) -> str:
    """Return a line that says what a closed loop has shown."""
    broken = f"  {', '.join(point.broken)}" if point.broken else ""
    connections = plural(point.connections, "connection")
    return f"{connections}  {rounded(point.pages_per_sec)}/s{broken}"
