"""HAR 1.2: what the developer tools of browsers, and proxies, record.

http://www.softwareishard.com/blog/har-12-spec/. Only methods, URLs and times are read: its headers
have the cookies and logins of the one who recorded it.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from abench.plan import json_items, log_times
from abench.plan.log_rows import Reason, Row, row

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"log"\s*:\s*\{')
_URL = re.compile(r"https?://(?:[^/?#@\s]*@)?(\[[^\]]*\]|[^/:?#\s]*)", re.IGNORECASE)


class _Entry(NamedTuple):
    """A request of a recording, the host that it went to, and whether it was redirected."""

    host: str
    is_redirected: bool
    found: Row | Reason


def is_har(beginning: bytes) -> bool:
    """Whether a file that begins like this is one: its only member is `log`."""
    return bool(_BEGINNING.match(beginning))


def read_rows(chunks: Iterable[bytes], host: str | None) -> Iterator[Row | Reason]:
    """Yield what each entry says; those for other hosts are left out.

    A page loads files from many hosts, and one server is loaded here. It stands for `host` if there
    are requests to it, otherwise for the host of the first one that was not redirected: a recording
    of another machine can be replayed. Raises JsonError.
    """
    entries = [_parse(entry) for entry in json_items.items(chunks, "log", "entries")]
    hosts = dict.fromkeys(entry.host for entry in entries if entry.host)
    if host not in hosts:
        pages = (one.host for one in entries if one.host and not one.is_redirected)
        host = next(pages, None)
    for entry in entries:
        is_elsewhere = bool(entry.host) and entry.host != host
        yield Reason.ELSEWHERE if is_elsewhere else entry.found


def _parse(entry: Any) -> _Entry:
    try:
        request, response = entry["request"], entry.get("response", {})
        method, url = str(request["method"]), str(request["url"])
        at_s = log_times.parse_time(entry["startedDateTime"])
        status = response.get("status", 0)
    except (LookupError, TypeError, AttributeError):
        return _Entry("", False, Reason.NOT_UNDERSTOOD)
    server = _URL.match(url)
    if not server or entry.get("_fromCache"):  # of data:, blob: and ws: there was no request
        return _Entry("", False, Reason.ELSEWHERE)
    is_redirected = isinstance(status, int) and 300 <= status < 400
    return _Entry(server[1].strip("[]").lower(), is_redirected, row(at_s, f"{method} {url}"))
