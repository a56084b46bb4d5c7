"""All rows, by part, and a cross-section of them."""

from collections.abc import Iterable, Mapping

from tests.conformance.cases import (
    caching,
    codings,
    conditions,
    errors,
    framing,
    hosts,
    methods,
    persistence,
    ranges,
    targets,
)
from tests.conformance.table import Row

PARTS: Mapping[str, list[Row]] = {
    "Framing": framing.ROWS,
    "Request targets": targets.ROWS,
    "Hosts and versions": hosts.ROWS,
    "Methods": methods.ROWS,
    "Conditional requests": conditions.ROWS,
    "Ranges": ranges.ROWS,
    "Content codings": codings.ROWS,
    "Persistence, pipelining, expectations": persistence.ROWS,
    "Errors and limits": errors.ROWS,
    "Dates and caching": caching.ROWS,
}

ROWS: tuple[Row, ...] = tuple(row for rows in PARTS.values() for row in rows)


def cross_section(rows: Iterable[Row]) -> list[Row]:
    """Return one row of each kind: the rows of a kind take the same path through a server."""
    kinds: dict[object, Row] = {}
    for row in rows:
        kinds.setdefault(_kind(row), row)
    return list(kinds.values())


# By name: to find a row in a list compares its bodies with those of the rows before it.
_PART_OF: Mapping[str, str] = {row.name: part for part, rows in PARTS.items() for row in rows}


def _kind(row: Row) -> object:
    part = _PART_OF[row.name]
    statuses = [response.statuses for response in row.aserve.responses[-1:]]
    how_sent = (row.half_closes, bool(row.continue_body), row.byte_by_byte, len(row.messages) > 1)
    return part, *statuses, row.aserve.after, how_sent, row.awaits_timeout, row.all_methods
