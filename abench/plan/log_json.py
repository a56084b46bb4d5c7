"""Lines of JSON that logs have, with the usual names of time, method and target.

nginx (as its configuration says), Caddy, Envoy and Istio, Traefik, Google Cloud's load balancers.
"""

import json
import re
from functools import lru_cache
from typing import Any

from abench.plan import log_times
from abench.plan.log_rows import Reason, Row, row
from abench.plan.log_text import Columns, uniform_columns

# Of two times, that of the request is better than that at which its line was written.
_TIME_KEYS = (
    *("StartUTC", "StartLocal", "start_time"),
    *("time", "timestamp", "@timestamp", "ts", "msec", "time_iso8601", "time_local", "datetime"),
)
_LINE_KEYS = ("request", "request_line")
_METHOD_KEYS = ("method", "request_method", "requestMethod", "RequestMethod", "verb")
# nginx's $uri is what it made of the target, $request_uri is what was sent.
_TARGET_KEYS = (
    *("target", "request_uri", "uri", "path", "url"),
    *("requestUrl", "RequestPath"),
)
_INNER_KEYS = ("request", "httpRequest")  # of Caddy and of Google Cloud


def columns(block: bytes) -> Columns | None:
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
    pattern = _pattern(tuple(values), tuple(map(roles.get, values)))
    return uniform_columns(block, pattern, lambda _: log_times.parse_json_time)


_VALUES = {
    None: rb'(?:"[^"\\\n]*(?:\\.[^"\\\n]*)*"|[^"\s,{}\[\]]+)',
    "time": rb'"?(?P<time>(?<=")[^"\\\n]*(?=")|(?<!")[0-9.]+)"?',
    "method": rb'"(?P<method>GET|HEAD|OPTIONS|TRACE)"',
    "resource": rb'"(?P<resource>/[^\s"\\]*)"',
    "line": (
        rb'"(?P<method>GET|HEAD|OPTIONS|TRACE) (?P<resource>/[^\s"\\]*)(?: HTTP/\d(?:\.\d)?)?"'
    ),
}


@lru_cache(maxsize=64)
def _pattern(keys: tuple[str, ...], roles: tuple[str | None, ...]) -> re.Pattern[bytes]:
    """Return the pattern of lines with these keys."""
    members = (
        re.escape(json.dumps(key).encode()) + rb"[ ]?:[ ]?" + _VALUES[role]
        for key, role in zip(keys, roles, strict=True)
    )
    return re.compile(rb"^\{" + rb"[ ]?,[ ]?".join(members) + rb"\}$", re.MULTILINE)


def parse_line(line: str) -> Row | Reason:
    """Return what a line says."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return Reason.NOT_UNDERSTOOD
    return parse_record(record)


def parse_record(record: Any) -> Row | Reason:
    """Return what a JSON value says."""
    if not isinstance(record, dict):
        return Reason.NOT_UNDERSTOOD
    inner = next((record[key] for key in _INNER_KEYS if isinstance(record.get(key), dict)), None)
    request = record if inner is None else inner
    time = _keys(tuple(record))[0]
    _, method, target, request_line = _keys(tuple(request))
    at_s = None if time is None else log_times.parse_time(record[time])
    if method and target and request[method] and request[target]:
        return row(at_s, f"{request[method]} {request[target]}")
    if request_line:
        return row(at_s, str(request[request_line]))
    return Reason.NOT_UNDERSTOOD


@lru_cache(maxsize=256)  # all lines of a log have the same keys
def _keys(names: tuple[str, ...]) -> list[str | None]:
    """Return the keys of the time, the method, the target and the request line, if any."""
    roles = (_TIME_KEYS, _METHOD_KEYS, _TARGET_KEYS, _LINE_KEYS)
    return [next((key for key in known if key in names), None) for known in roles]
