"""All rows, by part."""

from collections.abc import Mapping

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
