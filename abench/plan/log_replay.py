"""The requests of an access log and their times, to be replayed."""

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
from abench.plan.packed_bytes import PackedBytes

# RFC 9110 section 9.2.1: only safe methods are replayed. Others would change something again.
METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
_METHOD_INDEX = {method: number for number, method in enumerate(METHODS)}
_ENCODED_METHOD_INDEX = {method.encode(): number for method, number in _METHOD_INDEX.items()}

# The common and the combined format start alike: host, identity, user, time, request line. A user
# name may contain spaces: so the first brackets, and the quotes after them, are searched for.
_COMMON = re.compile(r'[^\[\]"]*\[(?P<time>[^\]]+)\] "(?P<line>(?:[^"\\]|\\.)*)"')
# The form of nearly all lines of a log: no escapes, and one of METHODS.
_PLAIN = re.compile(
    rb'^[^\[\]"\n]*\[([^\]\n]+)\] "(GET|HEAD|OPTIONS|TRACE) (/[^\s"\\]*) HTTP/\d\.\d".*$',
    re.MULTILINE,
)
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/\S*|https?://\S+)(?: HTTP/\d\.\d)?")
_MAX_SECONDS = 1e11  # a POSIX time beyond it is in milliseconds: in seconds it is the year 5138
_UNITS_PER_S = (1, 1_000, 1_000_000, 1_000_000_000)  # and so on to nanoseconds
_CLF_TIME = re.compile(r"([^.]{1,40}?)(\.\d{1,9})?( [+-]\d{4})")
_SORT_BUCKETS = 4_096

_TIME_KEYS = ("time", "timestamp", "@timestamp", "ts", "time_iso8601", "time_local", "datetime")
_LINE_KEYS = ("request", "request_line")
_METHOD_KEYS = ("method", "request_method", "verb")
_TARGET_KEYS = ("target", "uri", "request_uri", "path", "url")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request of a log; `at_s` is in seconds from the first, `resource` in origin-form."""

    at_s: float
    method: str
    resource: str


class LogEntries(Sequence[LogEntry]):
    """The requests of a log, packed: each takes little more memory than its resource.

    `times_s` has when each was made, in the order in which they are replayed.
    """

    def __init__(self) -> None:
        self.methods = list(METHODS)
        self.times_s = array("d")
        self._methods = array("B")
        self._resources = PackedBytes()
        self._order: array[int] | None = None  # positions in the log, if not in order

    @classmethod
    def of(cls, entries: Sequence[LogEntry]) -> "LogEntries":
        """Return any sequence of entries as LogEntries, in the same order and with its methods."""
        if isinstance(entries, cls):
            return entries
        packed = cls()
        packed.methods = sorted({entry.method for entry in entries})
        packed.add(
            [entry.at_s for entry in entries],
            [packed.methods.index(entry.method) for entry in entries],
            [entry.resource.encode(errors="surrogateescape") for entry in entries],
        )
        return packed

    def add(
        self, times_s: Iterable[float], methods: Iterable[int], resources: Sequence[bytes]
    ) -> None:
        """Append entries, by columns; a method is an index into `methods`."""
        self.times_s.extend(times_s)
        self._methods.extend(methods)
        self._resources.extend(resources)

    def arrange(self) -> None:
        """Sort the entries by time, and count the times from the first."""
        times_s = self.times_s
        if not all(map(operator.le, times_s, islice(times_s, 1, None))):
            self._order = _sorted(times_s)
            times_s = array("d", map(times_s.__getitem__, self._order))
        self.times_s = _spread_evenly(times_s)

    def key(self, index: int) -> tuple[int, bytes]:
        """Return the request of one entry: the index of its method, and the resource."""
        position = index if self._order is None else self._order[index]
        return self._methods[position], self._resources[position]

    def __len__(self) -> int:
        return len(self.times_s)

    @overload
    def __getitem__(self, index: int) -> LogEntry: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LogEntry, ...]: ...

    def __getitem__(self, index: int | slice) -> LogEntry | tuple[LogEntry, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        method, resource = self.key(range(len(self))[index])
        return LogEntry(
            self.times_s[index], self.methods[method], resource.decode(errors="replace")
        )


def _sorted(times_s: "array[float]") -> "array[int]":
    """Return the indices of times in order. Buckets avoid a list with an object for each time."""
    first = min(times_s)
    width = (max(times_s) - first) / _SORT_BUCKETS or 1.0
    buckets: defaultdict[int, array[int]] = defaultdict(lambda: array("I"))
    for index, at_s in enumerate(times_s):
        buckets[int((at_s - first) / width)].append(index)
    order = array("I")
    for bucket in sorted(buckets):
        order.extend(sorted(buckets[bucket], key=times_s.__getitem__))
    return order


@dataclass(frozen=True, slots=True)
class RecordedLog:
    """The requests of a log in the order of their times, the first at 0.

    `skipped` is how many lines could not be read, or would change something if replayed.
    """

    entries: Sequence[LogEntry]
    skipped: int

    def times_s(self) -> tuple[float, ...]:
        """Return when each request was made, in seconds from the first."""
        return tuple(LogEntries.of(self.entries).times_s)


def read_log(path: Path) -> RecordedLog:
    """Return the log at `path`; raises ParameterError if there is no request in it.

    What is read from a stream is cached for a second call.
    """
    with inputs.errors_named("--replay", str(path)):
        stream = inputs.identity(str(path))
    log = _parse_file(path) if stream is None else _cached_log(stream, path)
    if not log.entries:
        raise ParameterError("--replay", f"{path} has no request in it that can be replayed")
    return log


@lru_cache(maxsize=1)
def _cached_log(_stream: inputs.Identity, path: Path) -> RecordedLog:
    return _parse_file(path)


def parse_log(lines: Iterable[str]) -> RecordedLog:
    """Return the log in `lines`, each in the common or combined format or JSON."""
    entries = LogEntries()
    skipped = _add_lines(entries, lines)
    entries.arrange()
    return RecordedLog(entries, skipped)


def _parse_file(path: Path) -> RecordedLog:
    entries = LogEntries()
    blocks = inputs.blocks("--replay", str(path), keep=False)
    skipped = sum(_add_block(entries, block) for block in blocks)
    entries.arrange()
    return RecordedLog(entries, skipped)


def _add_block(entries: LogEntries, block: bytes) -> int:
    """Add the requests of some whole lines; return how many lines are skipped.

    Lines that are not all plain are parsed one by one.
    """
    if block.startswith(b"{"):
        plain = _plain_json(block)
    else:
        plain = _parse_uniform(block, _PLAIN, ("time", "method", "resource"), None)
    if plain:
        entries.add(*plain)
        return 0
    lines = block.decode(errors="surrogateescape").split("\n")
    return _add_lines(entries, lines)


_Columns = tuple[Sequence[float], Iterable[int], Sequence[bytes]]


def _parse_uniform(
    block: bytes, pattern: re.Pattern[bytes], names: Sequence[str], parse_time: "_ParseTime | None"
) -> _Columns | None:
    """Return the requests of some lines if all match `pattern`, whose groups have `names`."""
    found = pattern.findall(block)
    if len(found) != block.count(b"\n") + 1:
        return None
    columns = dict(zip(names, zip(*found, strict=True), strict=True))
    times = columns["time"]
    parse_time = parse_time or (_parse_clf_fraction if b"." in times[0] else _parse_clf_time)
    times_s = list(map(parse_time, times))
    if isnan(sum(times_s)):
        return None
    return times_s, map(_ENCODED_METHOD_INDEX.__getitem__, columns["method"]), columns["resource"]


_ParseTime = Callable[[bytes], float]


def _plain_json(block: bytes) -> _Columns | None:
    """Return the requests of lines of JSON that are all like the first, and without nesting."""
    try:
        pairs = json.loads(block.partition(b"\n")[0], object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    values = dict(pairs)
    is_nested = any(isinstance(value, tuple | list) for value in values.values())
    if len(values) < len(pairs) or is_nested:
        return None
    time, method, resource, request_line = _keys(tuple(values))
    if time is None or not (request_line or (method and resource)):
        return None
    roles: dict[str | None, str] = {time: "time"}
    if method and resource:
        roles |= {method: "method", resource: "resource"}
    else:
        roles[request_line] = "line"
    pattern, names = _json_pattern(tuple(values), tuple(map(roles.get, values)))
    return _parse_uniform(block, pattern, names, _parse_json_time)


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
    keys: tuple[str, ...], roles: tuple[str | None, ...]
) -> tuple[re.Pattern[bytes], tuple[str, ...]]:
    """Return the pattern of lines with these keys, and the names of its groups."""
    members = (
        re.escape(json.dumps(key).encode()) + rb"[ ]?:[ ]?" + _JSON_VALUES[role]
        for key, role in zip(keys, roles, strict=True)
    )
    names = tuple(name for role in roles for name in _JSON_GROUPS.get(role, (role or "",)))
    return re.compile(rb"^\{" + rb"[ ]?,[ ]?".join(members) + rb"\}$", re.MULTILINE), names


def _parse_json_time(text: bytes) -> float:
    """Return a time in seconds. Its whole second is cached, since many lines share it."""
    zone = 1 if text.endswith(b"Z") else 6
    if text[10:11] == b"T" and text[19:20] == b"." and text[20:-zone].isdigit():
        return _json_second(text[:19] + text[-zone:]) + float(text[19:-zone])
    return _json_second(text)


@lru_cache(maxsize=1_024)
def _json_second(text: bytes) -> float:
    at_s = _parse_time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def _add_lines(entries: LogEntries, lines: Iterable[str]) -> int:
    """Add the requests of lines, one by one; return how many lines are skipped."""
    parsed = list(map(_parse_line, filter(None, map(str.strip, lines))))
    valid = [row for row in parsed if row is not None]
    if valid:
        entries.add(*zip(*valid, strict=True))
    return len(parsed) - len(valid)


def _parse_line(line: str) -> "_Row | None":
    return _from_json(line) if line.startswith("{") else _from_common(line)


_Row = tuple[float, int, bytes]
"""The time in seconds, the index of the method in METHODS, and the resource."""


def _spread_evenly(times_s: "array[float]") -> "array[float]":
    """Count from the first. If only whole seconds are known, spread requests evenly within each.

    No client sent a burst at the start of each second. But a log that has a fraction anywhere has
    them everywhere, and requests at the same moment in it were simultaneous.
    """
    first = times_s[0] if times_s else 0.0
    if not all(map(float.is_integer, times_s)):
        return array("d", (at_s - first for at_s in times_s))
    spread = array("d")
    for at_s, same in groupby(times_s):
        count = len(list(same))
        spread.extend([at_s - first + number / count for number in range(count)])
    return spread


def _from_common(line: str) -> _Row | None:
    found = _COMMON.match(line)
    if not found:
        return None
    return _row(_clf_time(found["time"]), _unescape(found["line"]))


def _from_json(line: str) -> _Row | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    inner = record.get("request")
    request: Mapping[str, Any] = inner if isinstance(inner, dict) else record
    time = _keys(tuple(record))[0]
    _, method, resource, request_line = _keys(tuple(request))
    at_s = None if time is None else _parse_time(record[time])
    if method and resource and request[method] and request[resource]:
        return _row(at_s, f"{request[method]} {request[resource]}")
    return _row(at_s, str(request[request_line])) if request_line else None


@lru_cache(maxsize=256)  # all lines of a log have the same keys
def _keys(names: tuple[str, ...]) -> list[str | None]:
    """Return the keys of the time, the method, the target and the request line, if any."""
    roles = (_TIME_KEYS, _METHOD_KEYS, _TARGET_KEYS, _LINE_KEYS)
    return [next((key for key in known if key in names), None) for known in roles]


def _row(at_s: float | None, line: str) -> _Row | None:
    found = _REQUEST_LINE.fullmatch(line)
    if at_s is None or not found or found[1] not in _METHOD_INDEX:
        return None
    try:
        return at_s, _METHOD_INDEX[found[1]], _resource(found[2]).encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return None


def _resource(target: str) -> str:
    """Return a request-target in origin-form: the log of a proxy has URLs."""
    return target if target.startswith("/") else "/" + "/".join(target.split("/")[3:])


def _parse_time(value: Any) -> float | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # as $msec of nginx, in quotes
        value = float(value)
    if isinstance(value, int | float):
        return _posix_time(value)
    if not isinstance(value, str):
        return None
    at_s = _parse_datetime(datetime.fromisoformat, value)
    return _clf_time(value) if at_s is None else at_s


def _posix_time(value: float) -> float | None:
    """Return the seconds of a POSIX time in seconds, milli-, micro- or nanoseconds."""
    units = (units for units in _UNITS_PER_S if 0 <= value < _MAX_SECONDS * units)
    unit = next(units, None)
    return None if unit is None else value / unit


@lru_cache(maxsize=1_024)  # a busy server has many lines per second
def _parse_clf_time(text: bytes) -> float:
    """Return a time in seconds; NaN if it is invalid."""
    at_s = _clf_time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def _parse_clf_fraction(text: bytes) -> float:
    """Return a time with a fraction in seconds; NaN if invalid. Its whole second is cached."""
    if text[20:21] != b".":
        return nan
    try:
        return _parse_clf_time(text[:20] + text[-6:]) + float(text[20:-6])
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
    return _parse_datetime(_strptime, text)


def _strptime(text: str) -> datetime:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")


def _parse_datetime(parse: Callable[[str], datetime], text: str) -> float | None:
    try:
        return parse(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _unescape(text: str) -> str:
    """Undo how Apache and nginx escape quotes, backslashes and bytes that are not printable.

    A byte becomes %HH, which requests the same resource (RFC 3986 section 6.2.2).
    """
    return _ESCAPED.sub(lambda found: f"%{found[1]}" if found[1] else found[2], text)
