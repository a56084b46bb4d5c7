"""What an access log says was asked, and when: to be asked again."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any

from abench.errors import ParameterError

# RFC 9110 section 9.2.1. What changes something is not done twice because it was done once.
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# Common and combined begin alike: host, identity, user, time, request line. Names have no blanks,
# a user's may: what is in brackets and then in quotes is found first.
_COMMON = re.compile(r'[^\[\]"]*\[(?P<time>[^\]]+)\] "(?P<line>(?:[^"\\]|\\.)*)"')
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/\S*|https?://\S+)(?: HTTP/\d\.\d)?")
_SECONDS_BELOW = 1e11  # a POSIX time beyond it is in thousandths: in seconds it is the year 5138
_UNITS_PER_S = (1, 1_000, 1_000_000, 1_000_000_000)  # and so on to nanoseconds
_CLF_TIMES = ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S.%f %z")

_TIMES = ("time", "timestamp", "@timestamp", "ts", "time_iso8601", "time_local", "datetime")
_LINES = ("request", "request_line")
_METHODS = ("method", "request_method", "verb")
_TARGETS = ("target", "uri", "request_uri", "path", "url")


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of a log; `at_s` is a POSIX time, or counted from the first."""

    at_s: float
    method: str
    resource: str


@dataclass(frozen=True, slots=True)
class Log:
    """The requests of a log in the order of their times, the first at 0.

    `left_out` is how many lines could not be read, or would change something if asked again.
    """

    entries: tuple[Entry, ...]
    left_out: int

    def times_s(self) -> tuple[float, ...]:
        """Return when each was asked, in seconds from the first."""
        return tuple(entry.at_s for entry in self.entries)


def read(path: Path) -> Log:
    """Return the log at `path`; raises ParameterError when there is no request in it."""
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            log = parse(lines)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ParameterError("--replay", f"{path}: {reason}") from None
    if not log.entries:
        raise ParameterError("--replay", f"{path} has no request in it that can be asked again")
    return log


def parse(lines: Iterable[str]) -> Log:
    """Return the log in `lines`: each common, combined or JSON."""
    found: list[Entry] = []
    left_out = 0
    for line in lines:
        if not line.strip():
            continue
        entry = _from_json(line) if line.lstrip().startswith("{") else _from_common(line)
        if entry is None or entry.method not in SAFE:
            left_out += 1
        else:
            found.append(entry)
    found.sort(key=lambda entry: entry.at_s)  # servers log when a reply has ended
    return Log(tuple(_spread(found)), left_out)


def _spread(entries: list[Entry]) -> Iterable[Entry]:
    """Count from the first; requests of one second, where that is all that is known, evenly in it.

    A burst at the beginning of each second is what no client did. But a log that has a fraction
    anywhere has them everywhere, and what it says to be of the same moment was.
    """
    whole = all(entry.at_s.is_integer() for entry in entries)
    first = entries[0].at_s if entries else 0.0
    for at_s, same in groupby(entries, key=lambda entry: entry.at_s):
        together = list(same)
        step = 1 / len(together) if whole else 0.0
        for number, entry in enumerate(together):
            yield Entry(at_s - first + number * step, entry.method, entry.resource)


def _from_common(line: str) -> Entry | None:
    found = _COMMON.match(line)
    if not found:
        return None
    return _entry(_clf_time(found["time"]), _unescaped(found["line"]))


def _from_json(line: str) -> Entry | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    inner = plain.get("request")
    asked: Mapping[str, Any] = inner if isinstance(inner, dict) else plain
    at_s = _time(_first(plain, _TIMES))
    method, resource = _first(asked, _METHODS), _first(asked, _TARGETS)
    if method and resource:
        return _entry(at_s, f"{method} {resource}")
    return _entry(at_s, str(_first(asked, _LINES)))


def _entry(at_s: float | None, line: str) -> Entry | None:
    found = _REQUEST_LINE.fullmatch(line)
    if at_s is None or not found:
        return None
    return Entry(at_s, found[1], found[2])


def _first(plain: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((plain[name] for name in names if name in plain), None)


def _time(value: Any) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # as nginx's $msec is, in quotes
        value = float(value)
    if isinstance(value, int | float):
        return _posix_time(value)
    if not isinstance(value, str):
        return None
    at_s = _read_time(datetime.fromisoformat, value)
    return _clf_time(value) if at_s is None else at_s


def _posix_time(value: float) -> float | None:
    """Return the seconds of a POSIX time in seconds, milli-, micro- or nanoseconds."""
    units = (units for units in _UNITS_PER_S if 0 <= value < _SECONDS_BELOW * units)
    unit = next(units, None)
    return None if unit is None else value / unit


@lru_cache(maxsize=1_024)  # a busy server has many lines of one second
def _clf_time(text: str) -> float | None:
    read = (_read_time(partial(_strptime, form), text) for form in _CLF_TIMES)
    return next((at_s for at_s in read if at_s is not None), None)


def _strptime(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)


def _read_time(reading: Callable[[str], datetime], text: str) -> float | None:
    try:
        return reading(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _unescaped(text: str) -> str:
    """Undo what Apache and nginx do to quotes, backslashes and octets that are no letters.

    An octet becomes %HH, which asks for the same (RFC 3986 section 6.2.2).
    """
    return _ESCAPED.sub(lambda found: f"%{found[1]}" if found[1] else found[2], text)
