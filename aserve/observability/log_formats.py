"""A line of the access log: in the combined format for programs, in color on a terminal."""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aserve.http.messages import Request

MAX_FIELD = 1_024
"""Characters of a line's request line, Referer and User-Agent, each."""
MAX_HEAD = 2_048
"""Bytes; of a longer head only the logged parts are kept, and its line's parts are not cached."""

_LOGGED = re.compile(r"\r\n(referer|user-agent):[ \t]*([^\r]*)", re.IGNORECASE)
_RAW = re.compile(r'[\x00-\x1f\x7f-\xff"\\]')
# One call for the whole text: 31 us for 1,024 bytes of 0xff, against 613 by a function for each.
_ESCAPED = [f"\\x{n:02x}" if _RAW.match(chr(n)) else chr(n) for n in range(256)]

_MAX_SHOWN = 240  # characters of a target, before they are escaped, on any terminal
_CUT = "..."


class Entry(NamedTuple):
    """One response.

    at: POSIX seconds when it ended; body_size: bytes of the body that were sent; duration: seconds
    until the last byte; cut: the connection was closed before the response was complete.
    """

    at: float
    client: str
    request: Request
    status: int
    body_size: int
    duration: float
    cut: bool = False


Formatter = Callable[[Entry], str]


def shortened(request: Request, max_length: int) -> Request:
    """Return a request with only its logged parts, each of at most max_length characters."""
    # Of a repeated header, the first one is logged.
    logged = {name.lower(): value for name, value in reversed(_LOGGED.findall(request.head))}
    headers = [f"{name}: {value[:max_length]}" for name, value in logged.items()]
    line = request.head.partition("\r\n")[0][:max_length]
    head = "\r\n".join((line, *headers, "", "")) if line else ""
    method, target = request.method[:max_length], request.target[:max_length]
    return Request(method, target, head=head, error=request.error, received=request.received)


def escape(text: str) -> str:
    r"""Return text that is safe in a log line: controls, non-ASCII, quotes, backslashes as \xHH.

    A text longer than a field of a line may be is cut, and ends in three dots.
    """
    beginning = text[: MAX_FIELD + 1]
    if _RAW.search(beginning):
        beginning = beginning.translate(_ESCAPED)
    if len(beginning) <= MAX_FIELD:
        return beginning
    short = beginning[: MAX_FIELD - len(_CUT)]
    last = short.rfind("\\", -3)  # each backslash now begins an escape of four characters
    return (short if last < 0 else short[:last]) + _CUT


def combined_format(entry: Entry) -> str:
    """Format an entry in the combined log format of Apache and nginx.

    Where a body was received, its size follows the last field, and "cut" where the response was cut
    short: parsers of that format do not read beyond its fields.
    """
    at, client, request, status, body_size, _, cut = entry
    head = request.head or f"{request.method} {request.target}".strip()
    line, quoted = (_quoted if len(head) <= MAX_HEAD else _quote)(head)
    mark = f' "received {request.received}"' if request.received else ""
    mark += ' "cut"' if cut else ""
    return f"{client} - - [{_format_time(int(at))}] {line} {status} {body_size} {quoted}{mark}"


@lru_cache(maxsize=16)
def _format_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def _quote(head: str) -> tuple[str, str]:
    """Return the logged parts of a head, in quotes: request line; Referer and User-Agent."""
    line = escape(head.partition("\r\n")[0]) or "-"
    return f'"{line}"', f'"{_header(head, "referer")}" "{_header(head, "user-agent")}"'


# The heads of cached responses come again and again.
_quoted = lru_cache(maxsize=1_024)(_quote)


def _header(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}:[ \t]*([^\r]*)", head, re.IGNORECASE)
    return escape(found[1].rstrip(" \t")) if found else "-"


_COLORS = {2: "32", 3: "36", 4: "33", 5: "31"}


def terminal_format(columns: int, *, use_color: bool) -> Formatter:
    """Return a formatter whose lines fit a terminal of so many columns, whatever the entry.

    The size is that of the response, or with a "+" that of the body that the client has sent.
    """
    width = max(20, columns - 57)

    def format_entry(entry: Entry) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(entry.at))
        client, request = _shorten(entry.client, 15), _describe_request(entry.request, width)
        status = str(entry.status)
        if use_color:
            status = f"\x1b[{_COLORS.get(entry.status // 100, '0')}m{status}\x1b[0m"
        mark = "  cut" if entry.cut else ""
        size = _format_size(entry.body_size)
        if received := entry.request.received:
            size = _format_received(received)
        duration = _format_duration(entry.duration)
        return f"{at}  {client:<15}  {request:<{width}}  {status}  {size:>12}  {duration:>9}{mark}"

    return format_entry


def _describe_request(request: Request, width: int) -> str:
    """Return method and target, or the beginning of the error where they could not be parsed."""
    if request.method and request.target:
        target = escape(_shorten(request.target, _MAX_SHOWN))
        return _shorten(f"{_shorten(escape(request.method), 16):<4} {target}", width)
    if not request.error:
        return _shorten(escape(request.method) or "-", width)
    detail = request.error.detail.removeprefix("This is ")
    return detail if len(detail) <= width else detail[: width - len(_CUT)] + _CUT


def _shorten(text: str, width: int) -> str:
    """Return text without its middle where it is too wide: its ends identify it."""
    if len(text) <= width:
        return text
    tail = (width - len(_CUT)) // 2
    return text[: width - len(_CUT) - tail] + _CUT + text[-tail:]


def _format_size(size: int) -> str:
    """Return a number of bytes in at most 12 characters."""
    return f"{size:,} B" if size < 100_000_000 else f"{size / 1e6:,.0f} MB"


def _format_received(size: int) -> str:
    """Return how many bytes a client has sent, in at most 12 characters."""
    return f"+{size:,} B" if size < 10_000_000 else f"+{size / 1e6:,.0f} MB"


def _format_duration(seconds: float) -> str:
    """Return a duration in at most 9 characters."""
    return f"{seconds * 1000:.1f} ms" if seconds < 9.99995 else f"{seconds:.1f} s"
