"""Lines of text that logs have: each format is a pattern, in which TIME and REQUEST are filled in.

A format is compiled twice: for all lines of a block at once, if they are of the common kind, and
for one line of any kind.
"""

import re
from collections.abc import Callable, Sequence
from math import isnan

from abench.plan import log_times
from abench.plan.log_rows import ENCODED_METHOD_INDEX, Reason, Row, row

ParseTime = Callable[[bytes], float]
Columns = tuple[Sequence[float], Sequence[int], Sequence[bytes]]
"""The parts of many rows."""

# The request of nearly all lines of a log: no escapes, and one of METHODS.
_PLAIN_REQUEST = (
    r'(?P<method>GET|HEAD|OPTIONS|TRACE) (?:https?://[^/\s"\\]+)?(?P<resource>/[^\s"\\#]*) '
    r"HTTP/\d(?:\.\d)?"
)
_ANY_REQUEST = r'(?P<line>(?:[^"\\]|\\.)*)'
_ESCAPED = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_HASH_ESCAPED = re.compile(r"#([0-9A-Fa-f]{2})")
_ISO_TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
# Both of AWS: time, balancer, client, target, three durations, two statuses, bytes in and out.
_BALANCER = r'(?:\S+ ){3}(?:-?[\d.]+ ){3}\S+ \S+ \d+ \d+ "REQUEST"'
_QUOTED = r'"(?:[^"\\\n]|\\.)*"'


def _unescape(text: str) -> str:
    """Undo how Apache and nginx escape quotes, backslashes and bytes that are not printable.

    A byte becomes %HH, which requests the same resource (RFC 3986 section 6.2.2).
    """
    return _ESCAPED.sub(lambda found: f"%{found[1]}" if found[1] else found[2], text)


def _unescape_hashes(text: str) -> str:
    """Undo how HAProxy escapes bytes: #HH (its manual, section 8.6)."""
    return _HASH_ESCAPED.sub(r"%\1", text)


def _bracketed_time(sample: bytes) -> ParseTime:
    """Return the parser of a time in brackets: Envoy has ISO 8601 where others have CLF."""
    if sample[4:5] == b"-":
        return log_times.parse_json_time
    return log_times.parse_clf_fraction if b"." in sample else log_times.parse_clf_time


class TextFormat:
    """A format of lines: `pattern` has the words TIME and REQUEST where these are.

    `parser_of` returns the parser for a column of times that are like a sample.
    """

    def __init__(
        self,
        pattern: str,
        time: str,
        parser_of: Callable[[bytes], ParseTime],
        unescape: Callable[[str], str] = _unescape,
    ) -> None:
        timed = f"^{pattern}.*$".replace("TIME", f"(?P<time>{time})")
        plain = timed.replace("REQUEST", _PLAIN_REQUEST).encode()
        self._plain = re.compile(plain, re.MULTILINE)
        self._any = re.compile(timed.replace("REQUEST", _ANY_REQUEST))
        self._parser_of = parser_of
        self._unescape = unescape

    def columns(self, block: bytes) -> Columns | None:
        """Return the requests of some lines, if all are plain lines of this format."""
        return uniform_columns(block, self._plain, self._parser_of)

    def row(self, line: str) -> Row | Reason | None:
        """Return what a line says; None if it is of another format."""
        found = self._any.match(line)
        if not found:
            return None
        stamp = found["time"].encode(errors="replace")
        at_s = self._parser_of(stamp)(stamp)
        return row(None if isnan(at_s) else at_s, self._unescape(found["line"]))


# In the order in which they are tried.
FORMATS = (
    # Common and combined, Traefik's CLF, Envoy's default. A user name may contain spaces: so the
    # first brackets, and the quotes after them, are searched for.
    TextFormat(r'[^\[\]"\n]*\[TIME\] "REQUEST"', r"[^\]\n]+", _bracketed_time),
    # HAProxy's HTTP log, with or without what syslog puts before it; its time is local, without a
    # zone. Up to the request there are no quotes: they are escaped in captured headers.
    TextFormat(
        r'[^"\n]*?\[TIME\] \S+ \S+ [-+\d/]+ [-+\d]+ [^"\n]*"REQUEST"',
        r"\d\d/[A-Z][a-z]{2}/\d{4}:[\d:.]+",
        lambda _: log_times.parse_local_fraction,
        _unescape_hashes,
    ),
    # AWS ALB: of its two times, that at which the request came, not that of the response.
    TextFormat(
        rf"\S+ {_ISO_TIME} {_BALANCER} {_QUOTED}(?: \S+){{3}}(?: {_QUOTED}){{3}} \S+ TIME ",
        _ISO_TIME,
        lambda _: log_times.parse_json_time,
    ),
    # AWS Classic Load Balancer.
    TextFormat(rf"TIME {_BALANCER}", _ISO_TIME, lambda _: log_times.parse_json_time),
)


def uniform_columns(
    block: bytes, pattern: re.Pattern[bytes], parser_of: Callable[[bytes], ParseTime]
) -> Columns | None:
    """Return the requests of some lines if all match `pattern`, with its time, method, resource."""
    found = pattern.findall(block)
    if len(found) != block.count(b"\n") + 1:
        return None
    columns = tuple(zip(*found, strict=True))
    times, methods, resources = (
        columns[pattern.groupindex[name] - 1] for name in ("time", "method", "resource")
    )
    times_s = list(map(parser_of(times[0]), times))
    if isnan(sum(times_s)):
        return None
    return times_s, list(map(ENCODED_METHOD_INDEX.__getitem__, methods)), resources
