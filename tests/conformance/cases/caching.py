"""Dates, and headers for caches (RFC 9110 6.6.1 and 5.6.7, RFC 9111 5)."""

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from tests.conformance.reader import Response
from tests.conformance.site import HELLO
from tests.conformance.table import (
    CLOSED,
    EITHER,
    MUST,
    NOW,
    OURS,
    PRESENT,
    SHOULD,
    Message,
    Row,
    expect,
    get,
    head,
    post,
    request,
    row,
    tag,
)

HELLO_OK = expect(200, body=HELLO)

_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def is_now(value: str) -> bool:
    """Compare with the current time, or with the fixed time, which may be long past."""
    moment = parsedate_to_datetime(value).timestamp()
    return moment == NOW or abs(moment - time.time()) < 60


def not_after_date(response: Response) -> bool:
    date, modified = response.get("date"), response.get("last-modified")
    if not (date and modified):
        return True  # Date has its own rows
    return parsedate_to_datetime(modified) <= parsedate_to_datetime(date)


def once(*names: str) -> Callable[[Response], bool]:
    """Expect each header that is not a list to occur at most once."""
    return lambda response: all(len(response.all(name)) <= 1 for name in names)


_REPLIES: dict[str, tuple[Message, tuple[int, ...]]] = {
    "200": (get("/hello.txt"), (200,)),
    "head": (head("/hello.txt"), (200,)),
    "206": (get("/hello.txt", range="bytes=0-1"), (206, 200)),
    "301": (get("/sub"), (301, 302, 307, 308)),
    "304": (get("/hello.txt", if_none_match=tag("/hello.txt")), (304,)),
    "404": (get("/missing"), (404,)),
    "405": (post(), tuple(range(200, 600))),
    "options": (request("OPTIONS", "*"), (200, 204, *range(400, 600))),
}
dates = [
    *(
        # RFC 9110 6.6.1: MUST in 2xx, 3xx and 4xx, from a server with a clock.
        row(f"date-in-{name}", "9110 6.6.1", MUST, message, expect(*statuses, date=PRESENT))
        for name, (message, statuses) in _REPLIES.items()
    ),
    row(
        "date-in-400",
        "9110 6.6.1",
        MUST,
        b"GET / HTTP/1.1\r\n\r\n",
        expect(*range(200, 600), date=PRESENT),
        aserve=expect(400, date=PRESENT),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    # RFC 9110 5.6.7: HTTP-date MUST be generated as IMF-fixdate.
    row("date-is-imf-fixdate", "9110 5.6.7", MUST, get("/hello.txt"), expect(200, date=_FIXDATE)),
    row("date-is-now", "9110 6.6.1", MUST, get("/hello.txt"), expect(200, date=is_now)),
    row(
        "last-modified-is-imf-fixdate",
        "9110 5.6.7",
        MUST,
        get("/hello.txt"),
        expect(200, last_modified=_FIXDATE),
    ),
    row(
        "last-modified-is-not-after-date",
        "9110 8.8.2.1",
        MUST,
        get("/future.txt"),
        expect(200, body=not_after_date),
    ),
]

headers = [
    row(
        "cache-control",
        "9111 5.2.2",
        OURS,
        get("/hello.txt"),
        expect(200, cache_control="no-cache"),
    ),
    row(
        "cache-control-with-head",
        "9110 9.3.2",
        OURS,
        head("/hello.txt"),
        expect(200, cache_control="no-cache"),
    ),
    # RFC 9111 5.1: Age means that the response came from a cache.
    row("no-age", "9111 5.1", MUST, get("/hello.txt"), expect(200, age=None)),
    # RFC 9111 5.5: Warning is obsolete; 5.4: Pragma is no response header.
    row(
        "no-warning", "9111 5.5", SHOULD, get("/hello.txt"), expect(200, warning=None, pragma=None)
    ),
    # RFC 9110 15.4.2: 301 is heuristically cacheable; with no-cache it must be revalidated.
    row(
        "redirect-is-not-cached",
        "9111 4.2.2",
        OURS,
        get("/sub"),
        expect(301, cache_control="no-cache"),
    ),
    *(
        row(f"request-{name}", "9111 5.2.1", level, get("/hello.txt", **given), HELLO_OK)
        for name, level, given in (
            # These are for caches; an origin server has no cached response to compare with them.
            ("only-if-cached", MUST, {"cache_control": "only-if-cached"}),
            ("no-cache", MUST, {"cache_control": "no-cache"}),
            ("no-store", MUST, {"cache_control": "no-store"}),
            ("max-age", MUST, {"cache_control": "max-age=0"}),
            ("unknown-directive", MUST, {"cache_control": 'unknown="a, b"'}),
            ("pragma", MUST, {"pragma": "no-cache"}),
        )
    ),
    row(
        "request-no-cache-may-be-304",
        "9111 5.2.1.4",
        OURS,
        get("/hello.txt", cache_control="no-cache", if_none_match="*"),
        expect(304),
    ),
    # RFC 9110 5.3: a header MUST NOT be sent twice unless it is a list.
    *(
        row(
            f"headers-once-in-{name}",
            "9110 5.3",
            MUST,
            message,
            expect(
                *statuses,
                body=once(
                    "date",
                    "server",
                    "etag",
                    "last-modified",
                    "content-type",
                    "content-length",
                    "content-range",
                    "location",
                ),
            ),
        )
        for name, (message, statuses) in _REPLIES.items()
    ),
    # RFC 9110 8.6: MUST NOT be in 204, nor in 304 unless it is that of the 200.
    row(
        "no-content-length-in-204",
        "9110 8.6",
        MUST,
        request("OPTIONS", "*"),
        expect(204, content_length=None) | expect(200, *range(400, 600)),
        aserve=expect(204, content_length=None, content_type=None),
    ),
    # RFC 9110 10.2.4: product tokens, which SHOULD NOT have unnecessary detail.
    row(
        "server-is-brief",
        "9110 10.2.4",
        SHOULD,
        get("/hello.txt"),
        expect(200, server=re.compile(r"[\w-]+(/[\w.+-]+)?")) | expect(200, server=None),
        aserve=expect(200, server="aserve"),
    ),
    row(
        "no-transfer-encoding-with-length",
        "9112 6.2",
        MUST,
        get("/large.bin"),
        expect(200, content_length="200000", transfer_encoding=None)
        | expect(200, content_length=None),
    ),
]

ROWS: list[Row] = [*dates, *headers]
