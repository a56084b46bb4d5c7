"""The extended log format of W3C: IIS, CloudFront, and others whose first lines name the columns.

https://www.w3.org/TR/WD-logfile.html. CloudFront has tabs between columns, others have spaces.
"""

import re
from dataclasses import dataclass
from math import isnan

from abench.plan import log_times
from abench.plan.log_rows import Reason, Row, row
from abench.plan.target import quote_bytes

_COLUMN = re.compile(r'"(?:[^"]|"")*"|\S+')
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_NONE = "-"


@dataclass(frozen=True, slots=True)
class W3cColumns:
    """Which columns have what; a line that has another number of columns is not understood.

    `date` is of the whole log, if lines have only the time.
    """

    count: int
    time: int
    method: int
    date: int | str
    stem: int | None
    query: int | None
    uri: int | None

    @classmethod
    def of(cls, names: list[str], date: str) -> "W3cColumns | None":
        """Return the columns of `#Fields: NAMES`; None if what is needed is not among them.

        `date` is that of the directive `#Date`, empty without one.
        """
        at = {name.lower(): number for number, name in enumerate(names)}
        stem, uri, day = at.get("cs-uri-stem"), at.get("cs-uri"), at.get("date", date)
        if "time" not in at or "cs-method" not in at or day == "" or (stem is None and uri is None):
            return None
        query = at.get("cs-uri-query")
        return cls(len(names), at["time"], at["cs-method"], day, stem, query, uri)

    def row(self, line: str) -> Row | Reason:
        """Return what a line says."""
        values = _split(line)
        if len(values) != self.count:
            return Reason.NOT_UNDERSTOOD
        day = values[self.date] if isinstance(self.date, int) else self.date
        at_s = log_times.parse_json_time(f"{day}T{values[self.time]}Z".encode(errors="replace"))
        if isnan(at_s):
            return Reason.NOT_UNDERSTOOD
        return row(at_s, f"{values[self.method]} {_quoted(self._target(values))}")

    def _target(self, values: list[str]) -> str:
        if self.stem is None:
            return values[self.uri or 0]
        query = _NONE if self.query is None else values[self.query]
        return values[self.stem] if query == _NONE else f"{values[self.stem]}?{query}"


def _split(line: str) -> list[str]:
    if "\t" in line:
        return line.split("\t")
    return _COLUMN.findall(line) if '"' in line else line.split(" ")


def _quoted(target: str) -> str:
    """Return a target percent-encoded where necessary: IIS logs what it has decoded."""
    if target.isascii() and target.isprintable():
        return target
    if _UNPRINTABLE.search(target):
        return target  # it is no request line then
    return quote_bytes(target.encode(errors="surrogateescape")).decode()


class W3cLog:
    """A log in this format, from its first directive on."""

    def __init__(self) -> None:
        self._columns: W3cColumns | None = None
        self._date = ""
        self.has_begun = False

    def direct(self, line: str) -> None:
        """Take a line that begins with #: a log may have new directives after each restart."""
        name, _, value = line.partition(":")
        if name == "#Date":
            self._date = value.split()[0] if value.split() else ""
        elif name == "#Fields":
            self.has_begun = True
            self._columns = W3cColumns.of(value.split(), self._date)

    def row(self, line: str) -> Row | Reason:
        """Return what a line says."""
        return self._columns.row(line) if self._columns else Reason.NOT_UNDERSTOOD
