"""Reads an access log, to replay its requests: common and combined format, and lines of JSON."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import isnan
from pathlib import Path
from typing import Any

from abench.errors import ParameterError
from abench.plan import inputs, log_times
from abench.plan.log_entries import METHODS, LogEntries, RecordedLog

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
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/\S*|https?://\S+)(?: HTTP/\d\.\d)?")

_TIME_KEYS = ("time", "timestamp", "@timestamp", "ts", "time_iso8601", "time_local", "datetime")
_LINE_KEYS = ("request", "request_line")
_METHOD_KEYS = ("method", "request_method", "verb")
_TARGET_KEYS = ("target", "uri", "request_uri", "path", "url")


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
    parse_time = parse_time or (
        log_times.parse_clf_fraction if b"." in times[0] else log_times.parse_clf_time
    )
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
    return _parse_uniform(block, pattern, names, log_times.parse_json_time)


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


def _from_common(line: str) -> _Row | None:
    found = _COMMON.match(line)
    if not found:
        return None
    return _row(log_times.clf_time(found["time"]), _unescape(found["line"]))


def _from_json(line: str) -> _Row | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    inner = record.get("request")
    request: Mapping[str, Any] = inner if isinstance(inner, dict) else record
    time = _keys(tuple(record))[0]
    _, method, resource, request_line = _keys(tuple(request))
    at_s = None if time is None else log_times.parse_time(record[time])
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


def _unescape(text: str) -> str:
    """Undo how Apache and nginx escape quotes, backslashes and bytes that are not printable.

    A byte becomes %HH, which requests the same resource (RFC 3986 section 6.2.2).
    """
    return _ESCAPED.sub(lambda found: f"%{found[1]}" if found[1] else found[2], text)
