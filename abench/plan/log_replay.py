"""What an access log says was asked, and when: to be asked again."""

import json
import operator
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby, islice
from math import isnan, nan
from pathlib import Path
from typing import Any, overload

from abench.errors import ParameterError
from abench.plan import inputs
from abench.plan.packed import PackedBytes

# RFC 9110 section 9.2.1. What changes something is not done twice because it was done once.
METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
_NUMBERS = {method: number for number, method in enumerate(METHODS)}
_NUMBERS_OF = {method.encode(): number for method, number in _NUMBERS.items()}

# Common and combined begin alike: host, identity, user, time, request line. Names have no blanks,
# a user's may: what is in brackets and then in quotes is found first.
_COMMON = re.compile(r'[^\[\]"]*\[(?P<time>[^\]]+)\] "(?P<line>(?:[^"\\]|\\.)*)"')
# Such a line as nearly all of a log are; what has escapes, another method or none is not.
_PLAIN = re.compile(
    rb'^[^\[\]"\n]*\[([^\]\n]+)\] "(GET|HEAD|OPTIONS|TRACE) (/[^\s"\\]*) HTTP/\d\.\d".*$',
    re.MULTILINE,
)
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/\S*|https?://\S+)(?: HTTP/\d\.\d)?")
_SECONDS_BELOW = 1e11  # a POSIX time beyond it is in thousandths: in seconds it is the year 5138
_UNITS_PER_S = (1, 1_000, 1_000_000, 1_000_000_000)  # and so on to nanoseconds
_CLF_TIME = re.compile(r"([^.]{1,40}?)(\.\d{1,9})?( [+-]\d{4})")
_BUCKETS = 4_096

_TIMES = ("time", "timestamp", "@timestamp", "ts", "time_iso8601", "time_local", "datetime")
_LINES = ("request", "request_line")
_METHODS = ("method", "request_method", "verb")
_TARGETS = ("target", "uri", "request_uri", "path", "url")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request of a log; `at_s` is counted from the first, `resource` is in origin-form."""

    at_s: float
    method: str
    resource: str


class LogEntries(Sequence[LogEntry]):
    """The requests of a log; of a million, each takes little more than its resource.

    `times_s` has when each was asked, in the order in which they are asked again.
    """

    def __init__(self) -> None:
        self.methods = list(METHODS)
        self.times_s = array("d")
        self._methods = array("B")
        self._resources = PackedBytes()
        self._order: array[int] | None = None  # where in the log each was, if not in its order

    @classmethod
    def of(cls, entries: Sequence[LogEntry]) -> "LogEntries":
        """Return entries of any kind as these, in the order and by the methods that they have."""
        if isinstance(entries, cls):
            return entries
        packed = cls()
        packed.methods = sorted({one.method for one in entries})
        packed.add(
            [one.at_s for one in entries],
            [packed.methods.index(one.method) for one in entries],
            [one.resource.encode(errors="surrogateescape") for one in entries],
        )
        return packed

    def add(
        self, times_s: Iterable[float], methods: Iterable[int], resources: Sequence[bytes]
    ) -> None:
        """Add some at the end."""
        self.times_s.extend(times_s)
        self._methods.extend(methods)
        self._resources.extend(resources)

    def arrange(self) -> None:
        """Put them in the order of their times, which are then counted from the first."""
        times_s = self.times_s
        if not all(map(operator.le, times_s, islice(times_s, 1, None))):
            self._order = _sorted(times_s)
            times_s = array("d", map(times_s.__getitem__, self._order))
        self.times_s = _spread_evenly(times_s)

    def key(self, index: int) -> tuple[int, bytes]:
        """Return what one has asked: the number of its method, and the resource."""
        place = index if self._order is None else self._order[index]
        return self._methods[place], self._resources[place]

    def __len__(self) -> int:
        return len(self.times_s)

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LogEntry, ...]: ...

    def __getitem__(self, index: int | slice) -> LogEntry | tuple[LogEntry, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        method, resource = self.key(range(len(self))[index])
        return LogEntry(
            self.times_s[index], self.methods[method], resource.decode(errors="replace")
        )


def _sorted(times_s: "array[float]") -> "array[int]":
    """Return the indices of times in their order: of a list of all of them, each is an object."""
    first = min(times_s)
    width = (max(times_s) - first) / _BUCKETS or 1.0
    buckets: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for index, at_s in enumerate(times_s):
        buckets[int((at_s - first) / width)].append(index)
    order = array("I")
    for place in sorted(buckets):
        order.extend(sorted(buckets[place], key=times_s.__getitem__))
    return order


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """The requests of a log in the order of their times, the first at 0.

    `left_out` is how many lines could not be read, or would change something if asked again.
    """

    entries: Sequence[LogEntry]
    skipped: int

    def times_s(self) -> tuple[float, ...]:
        """Return when each was asked, in seconds from the first."""
        return tuple(LogEntries.of(self.entries).times_s)


def read_log(path: Path) -> RecordedLog:
    """Return the log at `path`; raises ParameterError when there is no request in it.

    What is read from a stream is kept for whoever reads it again.
    """
    with inputs.errors_named("--replay", str(path)):
        stream = inputs.identity(str(path))
    log = _parse_file(path) if stream is None else _cached_log(stream, path)
    if not log.entries:
        raise ParameterError("--replay", f"{path} has no request in it that can be asked again")
    return log


@lru_cache(maxsize=1)
def _cached_log(_stream: inputs.Identity, path: Path) -> RecordedLog:
    return _parse_file(path)


def parse_log(lines: Iterable[str]) -> RecordedLog:
    """Return the log in `lines`: each common, combined or JSON."""
    entries = LogEntries()
    left_out = _add_lines(entries, lines)
    entries.arrange()
    return RecordedLog(entries, left_out)


def _parse_file(path: Path) -> RecordedLog:
    entries = LogEntries()
    blocks = inputs.blocks("--replay", str(path), keep=False)
    left_out = sum(_add_block(entries, block) for block in blocks)
    entries.arrange()
    return RecordedLog(entries, left_out)


def _add_block(entries: LogEntries, block: bytes) -> int:
    """Add what some whole lines say; return how many are left out.

    Lines that are not all plain are read one by one.
    """
    if block.startswith(b"{"):
        plain = _plain_json(block)
    else:
        plain = _parse_alike(block, _PLAIN, ("time", "method", "resource"), None)
    if plain:
        entries.add(*plain)
        return 0
    lines = block.decode(errors="surrogateescape").split("\n")
    return _add_lines(entries, lines)


_Columns = tuple[Sequence[float], Iterable[int], Sequence[bytes]]


def _parse_alike(
    block: bytes, pattern: re.Pattern[bytes], names: Sequence[str], read: "_ReadTime | None"
) -> _Columns | None:
    """Return what all of some lines say, if each is as `pattern`, whose groups have `names`."""
    found = pattern.findall(block)
    if len(found) != block.count(b"\n") + 1:
        return None
    column = dict(zip(names, zip(*found, strict=True), strict=True))
    times = column["time"]
    read = read or (_clf_fraction_of if b"." in times[0] else _clf_time_of)
    times_s = list(map(read, times))
    if isnan(sum(times_s)):
        return None
    return times_s, map(_NUMBERS_OF.__getitem__, column["method"]), column["resource"]


_ReadTime = Callable[[bytes], float]


def _plain_json(block: bytes) -> _Columns | None:
    """Return what lines of JSON say that are all like the first, and without nesting."""
    try:
        pairs = json.loads(block.partition(b"\n")[0], object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    values = dict(pairs)
    if len(values) < len(pairs) or any(isinstance(one, tuple | list) for one in values.values()):
        return None
    time, method, resource, request_line = _keys(tuple(values))
    if time is None or not (request_line or (method and resource)):
        return None
    used: dict[str | None, str] = {time: "time"}
    if method and resource:
        used |= {method: "method", resource: "resource"}
    else:
        used[request_line] = "line"
    pattern, names = _json_pattern(tuple(values), tuple(map(used.get, values)))
    return _parse_alike(block, pattern, names, _json_time_of)


_JSON_VALUES = {
    None: rb'(?:"[^"\\\n]*(?:\\.[^"\\\n]*)*"|[^"\s,{}\[\]]+)',
    "time": rb'"?((?<=")[^"\\\n]*(?=")|(?<!")[0-9.]+)"?',
    "method": rb'"(GET|HEAD|OPTIONS|TRACE)"',
    "resource": rb'"(/[^\s"\\]*)"',
    "line": rb'"(GET|HEAD|OPTIONS|TRACE) (/[^\s"\\]*)(?: HTTP/\d\.\d)?"',
}
_JSON_GROUPS = {None: (), "line": ("method", "resource")}


@lru_cache(maxsize=64)
def _json_pattern(
    keys: tuple[str, ...], used: tuple[str | None, ...]
) -> tuple[re.Pattern[bytes], tuple[str, ...]]:
    """Return what lines with these keys are like, and what is in its groups."""
    members = (
        re.escape(json.dumps(key).encode()) + rb"[ ]?:[ ]?" + _JSON_VALUES[role]
        for key, role in zip(keys, used, strict=True)
    )
    names = tuple(name for role in used for name in _JSON_GROUPS.get(role, (role or "",)))
    return re.compile(rb"^\{" + rb"[ ]?,[ ]?".join(members) + rb"\}$", re.MULTILINE), names


def _json_time_of(text: bytes) -> float:
    """Return a time as a number; its second, without a fraction, is one that many lines have."""
    zone = 1 if text.endswith(b"Z") else 6
    if text[10:11] == b"T" and text[19:20] == b"." and text[20:-zone].isdigit():
        return _json_second(text[:19] + text[-zone:]) + float(text[19:-zone])
    return _json_second(text)


@lru_cache(maxsize=1_024)
def _json_second(text: bytes) -> float:
    at_s = _time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def _add_lines(entries: LogEntries, lines: Iterable[str]) -> int:
    """Add what lines say, one by one; return how many are left out."""
    said = list(map(_parse_line, filter(None, map(str.strip, lines))))
    good = [one for one in said if one is not None]
    if good:
        entries.add(*zip(*good, strict=True))
    return len(said) - len(good)


def _parse_line(line: str) -> "_Found | None":
    return _from_json(line) if line.startswith("{") else _from_common(line)


_Found = tuple[float, int, bytes]
"""When, by which of METHODS, and what."""


def _spread_evenly(times_s: "array[float]") -> "array[float]":
    """Count from the first; requests of one second, where that is all that is known, evenly in it.

    A burst at the beginning of each second is what no client did. But a log that has a fraction
    anywhere has them everywhere, and what it says to be of the same moment was.
    """
    first = times_s[0] if times_s else 0.0
    if not all(map(float.is_integer, times_s)):
        return array("d", (at_s - first for at_s in times_s))
    spread = array("d")
    for at_s, same in groupby(times_s):
        together = len(list(same))
        spread.extend([at_s - first + number / together for number in range(together)])
    return spread


def _from_common(line: str) -> _Found | None:
    found = _COMMON.match(line)
    if not found:
        return None
    return _entry(_clf_time(found["time"]), _unescape(found["line"]))


def _from_json(line: str) -> _Found | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    inner = plain.get("request")
    asked: Mapping[str, Any] = inner if isinstance(inner, dict) else plain
    time = _keys(tuple(plain))[0]
    _, method, resource, request_line = _keys(tuple(asked))
    at_s = None if time is None else _time(plain[time])
    if method and resource and asked[method] and asked[resource]:
        return _entry(at_s, f"{asked[method]} {asked[resource]}")
    return _entry(at_s, str(asked[request_line])) if request_line else None


@lru_cache(maxsize=256)  # all lines of a log have the same
def _keys(names: tuple[str, ...]) -> list[str | None]:
    """Return what the time, the method, the target and the request line are called."""
    wanted = (_TIMES, _METHODS, _TARGETS, _LINES)
    return [next((name for name in usual if name in names), None) for usual in wanted]


def _entry(at_s: float | None, line: str) -> _Found | None:
    found = _REQUEST_LINE.fullmatch(line)
    if at_s is None or not found or found[1] not in _NUMBERS:
        return None
    try:
        return at_s, _NUMBERS[found[1]], _resource(found[2]).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return None


def _resource(target: str) -> str:
    """Return a request-target in origin-form: a proxy's log has URLs."""
    return target if target.startswith("/") else "/" + "/".join(target.split("/")[3:])


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
def _clf_time_of(text: bytes) -> float:
    """Return a time as a number; not a number where it is none."""
    at_s = _clf_time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def _clf_fraction_of(text: bytes) -> float:
    """Return a time with a fraction: its second is one that many lines have."""
    if text[20:21] != b".":
        return nan
    try:
        return _clf_time_of(text[:20] + text[-6:]) + float(text[20:-6])
    except ValueError:
        return nan


def _clf_time(text: str) -> float | None:
    found = _CLF_TIME.fullmatch(text)
    second = _clf_second(found[1] + found[3]) if found else None
    if not found or second is None:
        return None
    return second + float(found[2] or 0)


@lru_cache(maxsize=1_024)
def _clf_second(text: str) -> float | None:
    return _read_time(_strptime, text)


def _strptime(text: str) -> datetime:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")


def _read_time(reading: Callable[[str], datetime], text: str) -> float | None:
    try:
        return reading(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _unescape(text: str) -> str:
    """Undo what Apache and nginx do to quotes, backslashes and octets that are no letters.

    An octet becomes %HH, which asks for the same (RFC 3986 section 6.2.2).
    """
    return _ESCAPED.sub(lambda found: f"%{found[1]}" if found[1] else found[2], text)
