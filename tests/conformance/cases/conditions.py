"""Conditional requests (RFC 9110 section 13), their precedence, and what 304 and 412 carry."""

import re

from tests.conformance.site import HELLO, LAST_MODIFIED, PAGE, TEN
from tests.conformance.table import (
    EITHER,
    MAY,
    MUST,
    OURS,
    PRESENT,
    SHOULD,
    Level,
    Message,
    Row,
    expect,
    get,
    head,
    request,
    row,
    tag,
)

HELLO_TAG = tag("/hello.txt")
MODIFIED = expect(200, body=HELLO)
NOT_MODIFIED = expect(304, body=b"")
FAILED = expect(412)

EARLIER = "Sat, 04 May 2024 03:02:00 GMT"
LATER = "Sat, 04 May 2024 03:02:02 GMT"
RFC_850 = "Saturday, 04-May-24 03:02:01 GMT"
ASCTIME = "Sat May  4 03:02:01 2024"


def hello(**headers: str | tuple[str, ...]) -> Message:
    return get("/hello.txt", **headers)


def strong(value: str) -> bool:
    return re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', value) is not None


validators = [
    # RFC 9110 8.8.3: an ETag SHOULD be sent, and so SHOULD Last-Modified (8.8.2).
    row("etag", "9110 8.8.3", SHOULD, hello(), expect(200, etag=PRESENT)),
    row(
        "etag-is-well-formed",
        "9110 8.8.3",
        MUST,
        hello(),
        expect(200, etag=re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')) | expect(200, etag=None),
    ),
    row("etag-is-strong", "9110 8.8.1", OURS, hello(), expect(200, etag=strong)),
    row("etag-of-empty-file", "9110 8.8.3", SHOULD, get("/empty.txt"), expect(200, etag=PRESENT)),
    row("etag-with-head", "9110 9.3.2", SHOULD, head("/hello.txt"), expect(200, etag=HELLO_TAG)),
    row("etag-stays", "9110 8.8.1", MUST, hello(), expect(200, etag=HELLO_TAG)),
    row("last-modified", "9110 8.8.2", SHOULD, hello(), expect(200, last_modified=LAST_MODIFIED)),
    row(
        "last-modified-of-1994",
        "9110 8.8.2",
        SHOULD,
        get("/older.txt"),
        expect(200, last_modified="Sun, 06 Nov 1994 08:49:37 GMT"),
    ),
    row(
        # RFC 9110 8.8.2.1: MUST NOT be later than the time of message origination.
        "last-modified-is-never-in-the-future",
        "9110 8.8.2.1",
        MUST,
        get("/future.txt"),
        expect(200, last_modified=lambda value: "2099" not in value)
        | expect(200, last_modified=None),
    ),
]

_OTHER = '"no-such-tag"'
if_none_match: list[Row] = []
for method, fresh in (("GET", MODIFIED), ("HEAD", expect(200, body=b""))):
    for name, level, value, expected in (
        # RFC 9110 13.1.2: the comparison is weak; 13.2.2 step 3: 304 for GET and HEAD.
        ("match", MUST, HELLO_TAG, NOT_MODIFIED),
        ("match-weak", MUST, f"W/{HELLO_TAG}", NOT_MODIFIED),
        ("star", MUST, "*", NOT_MODIFIED),
        ("other", MUST, _OTHER, fresh),
        ("other-weak", MUST, f"W/{_OTHER}", fresh),
        ("list", MUST, f"{_OTHER}, {HELLO_TAG}", NOT_MODIFIED),
        ("list-without-whitespace", MUST, f"{_OTHER},{HELLO_TAG},{_OTHER}", NOT_MODIFIED),
        ("list-with-weak", MUST, f"{_OTHER}, W/{HELLO_TAG}", NOT_MODIFIED),
        ("list-of-others", MUST, f'{_OTHER}, "another"', fresh),
        ("list-with-empty-elements", MUST, f", ,{HELLO_TAG} ,", NOT_MODIFIED),
        ("list-in-lines", MUST, (_OTHER, HELLO_TAG), NOT_MODIFIED),
        ("tag-with-comma", MUST, f'"a,b", {HELLO_TAG}', NOT_MODIFIED),
        ("tag-with-star", MUST, '"*"', fresh),
        ("empty-tag", MUST, '""', fresh),
    ):
        if_none_match.append(
            row(
                f"if-none-match-{name}-{method.lower()}",
                "9110 13.1.2",
                level,
                request(method, "/hello.txt", if_none_match=value),
                expected,
            )
        )
if_none_match += [
    # Text that is not an entity tag cannot match.
    row(
        f"if-none-match-{name}",
        "9110 8.8.3",
        OURS,
        hello(if_none_match=value),
        MODIFIED,
    )
    for name, value in {
        "unquoted": "no-such-tag",
        "empty": "",
        "half-quoted": '"no-such-tag',
        "single-quoted": "'no-such-tag'",
    }.items()
]

# RFC 9110 13.1.3 and 5.6.7: three date formats; any other text is ignored.
_SINCE: tuple[tuple[str, Level, str | tuple[str, ...], bool], ...] = (
    ("same", SHOULD, LAST_MODIFIED, True),
    ("later", SHOULD, LATER, True),
    ("much-later", SHOULD, "Thu, 01 Jan 2026 00:00:00 GMT", True),
    ("earlier", MUST, EARLIER, False),
    ("much-earlier", MUST, "Sun, 06 Nov 1994 08:49:37 GMT", False),
    ("epoch", MUST, "Thu, 01 Jan 1970 00:00:00 GMT", False),
    ("rfc-850", MUST, RFC_850, True),
    ("rfc-850-earlier", MUST, "Saturday, 04-May-24 03:02:00 GMT", False),
    ("asctime", MUST, ASCTIME, True),
    ("asctime-earlier", MUST, "Sat May  4 03:02:00 2024", False),
    ("asctime-two-digit-day", SHOULD, "Wed May 15 03:02:01 2024", True),
    # RFC 9110 5.6.7: more than 50 years ahead means the past: 1989 and 1994, not 2089 and 2094.
    ("rfc-850-century-89", MUST, "Monday, 06-Nov-89 08:49:37 GMT", False),
    ("rfc-850-century-94", MUST, "Sunday, 06-Nov-94 08:49:37 GMT", False),
    ("rfc-850-soon", SHOULD, "Tuesday, 01-Jan-30 00:00:00 GMT", True),
    ("leap-second", MAY, "Sat, 31 Dec 2016 23:59:60 GMT", False),
)
if_modified_since = [
    *(
        row(
            f"if-modified-since-{name}",
            "9110 13.1.3" if "rfc" not in name and "asc" not in name else "9110 5.6.7",
            level,
            hello(if_modified_since=value),
            NOT_MODIFIED if known else MODIFIED,
        )
        for name, level, value, known in _SINCE
    ),
    row(
        "if-modified-since-same-with-head",
        "9110 13.1.3",
        SHOULD,
        head("/hello.txt", if_modified_since=LAST_MODIFIED),
        NOT_MODIFIED,
    ),
    row(
        "if-modified-since-earlier-with-head",
        "9110 13.1.3",
        MUST,
        head("/hello.txt", if_modified_since=EARLIER),
        expect(200, body=b""),
    ),
    *(
        # RFC 9110 13.1.3: MUST ignore the header if it is not one valid HTTP-date.
        row(
            f"if-modified-since-ignored-{name}",
            "9110 13.1.3",
            MUST,
            hello(if_modified_since=value),
            MODIFIED,
        )
        for name, value in {
            "words": "yesterday",
            "empty": "",
            "number": "1893456000",
            "iso-8601": "2026-01-01T00:00:00Z",
            "two-dates": "Thu, 01 Jan 2026 00:00:00 GMT, Thu, 01 Jan 2026 00:00:00 GMT",
            "no-such-day": "Mon, 31 Feb 2026 00:00:00 GMT",
            "no-such-month": "Thu, 01 Foo 2026 00:00:00 GMT",
            "no-such-hour": "Thu, 01 Jan 2026 24:00:00 GMT",
            "no-such-minute": "Thu, 01 Jan 2026 00:60:00 GMT",
            "no-such-second": "Thu, 01 Jan 2026 00:00:61 GMT",
            "day-zero": "Thu, 00 Jan 2026 00:00:00 GMT",
        }.items()
    ),
    *(
        # Invalid by the grammar of 5.6.7 as well, but the intended date can be guessed.
        row(
            f"if-modified-since-lax-{name}",
            "9110 5.6.7",
            MAY,
            hello(if_modified_since=value),
            MODIFIED | NOT_MODIFIED,
            aserve=MODIFIED,
        )
        for name, value in {
            "other-zone": "Thu, 01 Jan 2026 00:00:00 CET",
            "numeric-zone": "Thu, 01 Jan 2026 00:00:00 +0000",
            "no-zone": "Thu, 01 Jan 2026 00:00:00",
            "no-day-name": "01 Jan 2026 00:00:00 GMT",
            "one-digit-day": "Thu, 1 Jan 2026 00:00:00 GMT",
            "in-capitals": "THU, 01 JAN 2026 00:00:00 GMT",
            "netscape-length": "Thu, 01 Jan 2026 00:00:00 GMT; length=14",
        }.items()
    ),
]

# RFC 9110 5.3: a client must not send these headers twice; rejecting the message is valid, too.
twice = [
    row(
        f"{name}-twice",
        clause,
        MUST,
        hello(**{name.replace("-", "_"): (value, value)}),
        MODIFIED | expect(400),
        rfc_after=EITHER,
        aserve=MODIFIED,
    )
    for name, clause, value in (
        ("if-modified-since", "9110 13.1.3", LATER),
        ("if-unmodified-since", "9110 13.1.4", EARLIER),
    )
]

if_match: list[Row] = [
    # RFC 9110 13.1.1: strong comparison; if false, MUST NOT perform the method: 412.
    row(f"if-match-{name}", "9110 13.1.1", level, hello(if_match=value), expected)
    for name, level, value, expected in (
        ("match", MUST, HELLO_TAG, MODIFIED),
        ("star", MUST, "*", MODIFIED),
        ("other", MUST, _OTHER, FAILED),
        ("match-weak", MUST, f"W/{HELLO_TAG}", FAILED),
        ("list", MUST, f"{_OTHER}, {HELLO_TAG}", MODIFIED),
        ("list-without-whitespace", MUST, f"{_OTHER},{HELLO_TAG}", MODIFIED),
        ("list-in-lines", MUST, (_OTHER, HELLO_TAG), MODIFIED),
        ("list-of-others", MUST, f'{_OTHER}, "another"', FAILED),
        ("list-with-weak", MUST, f"{_OTHER}, W/{HELLO_TAG}", FAILED),
        ("list-with-empty-elements", MUST, f",, {HELLO_TAG} ,", MODIFIED),
        ("tag-with-comma", MUST, f'"a,b", {HELLO_TAG}', MODIFIED),
        ("tag-with-star", MUST, '"*"', FAILED),
        ("unquoted", OURS, "no-such-tag", FAILED),
    )
]
if_match += [
    row(
        "if-match-other-with-head",
        "9110 13.1.1",
        MUST,
        head("/hello.txt", if_match=_OTHER),
        expect(412, body=b""),
    ),
    row(
        "if-match-match-with-head",
        "9110 13.1.1",
        MUST,
        head("/hello.txt", if_match=HELLO_TAG),
        expect(200, body=b""),
    ),
]

if_unmodified_since: list[Row] = [
    # RFC 9110 13.1.4: text that is not an HTTP-date MUST be ignored.
    row(
        f"if-unmodified-since-{name}",
        "9110 13.1.4",
        level,
        hello(if_unmodified_since=value),
        expected,
    )
    for name, level, value, expected in (
        ("same", MUST, LAST_MODIFIED, MODIFIED),
        ("later", MUST, LATER, MODIFIED),
        ("earlier", MUST, EARLIER, FAILED),
        ("rfc-850", MUST, RFC_850, MODIFIED),
        ("rfc-850-earlier", MUST, "Saturday, 04-May-24 03:02:00 GMT", FAILED),
        ("asctime", MUST, ASCTIME, MODIFIED),
        ("asctime-earlier", MUST, "Sat May  4 03:02:00 2024", FAILED),
        ("words", MUST, "yesterday", MODIFIED),
        ("empty", MUST, "", MODIFIED),
        ("no-such-day", MUST, "Fri, 31 Feb 2020 00:00:00 GMT", MODIFIED),
    )
]
if_unmodified_since += [
    row(
        "if-unmodified-since-earlier-with-head",
        "9110 13.1.4",
        MUST,
        head("/hello.txt", if_unmodified_since=EARLIER),
        expect(412, body=b""),
    ),
]

# RFC 9110 13.2.2: the order of the steps.
precedence: list[Row] = [
    row(f"precedence-{name}", "9110 13.2.2", MUST, hello(**headers), expected)
    for name, headers, expected in (
        # 13.1.3: MUST ignore If-Modified-Since if there is an If-None-Match.
        (
            "none-match-other-before-date-same",
            {"if_none_match": _OTHER, "if_modified_since": LAST_MODIFIED},
            MODIFIED,
        ),
        (
            "none-match-before-date-earlier",
            {"if_none_match": HELLO_TAG, "if_modified_since": EARLIER},
            NOT_MODIFIED,
        ),
        (
            "none-match-and-date-agree",
            {"if_none_match": HELLO_TAG, "if_modified_since": LAST_MODIFIED},
            NOT_MODIFIED,
        ),
        # 13.1.4: MUST ignore If-Unmodified-Since if there is an If-Match.
        (
            "match-before-unmodified",
            {"if_match": HELLO_TAG, "if_unmodified_since": EARLIER},
            MODIFIED,
        ),
        (
            "match-other-before-unmodified",
            {"if_match": _OTHER, "if_unmodified_since": LATER},
            FAILED,
        ),
        ("match-other-before-none-match", {"if_match": _OTHER, "if_none_match": HELLO_TAG}, FAILED),
        (
            "match-then-none-match",
            {"if_match": HELLO_TAG, "if_none_match": HELLO_TAG},
            NOT_MODIFIED,
        ),
        ("match-then-none-match-other", {"if_match": HELLO_TAG, "if_none_match": _OTHER}, MODIFIED),
        ("match-star-then-none-match-star", {"if_match": "*", "if_none_match": "*"}, NOT_MODIFIED),
        (
            "unmodified-then-none-match",
            {"if_unmodified_since": LAST_MODIFIED, "if_none_match": HELLO_TAG},
            NOT_MODIFIED,
        ),
        (
            "unmodified-earlier-before-none-match",
            {"if_unmodified_since": EARLIER, "if_none_match": HELLO_TAG},
            FAILED,
        ),
        (
            "unmodified-then-modified",
            {"if_unmodified_since": LAST_MODIFIED, "if_modified_since": LAST_MODIFIED},
            NOT_MODIFIED,
        ),
        (
            "unmodified-earlier-before-modified",
            {"if_unmodified_since": EARLIER, "if_modified_since": LAST_MODIFIED},
            FAILED,
        ),
        (
            "match-then-modified",
            {"if_match": HELLO_TAG, "if_modified_since": LAST_MODIFIED},
            NOT_MODIFIED,
        ),
        ("match-other-before-range", {"if_match": _OTHER, "range": "bytes=0-0"}, FAILED),
        (
            "none-match-before-range",
            {"if_none_match": HELLO_TAG, "range": "bytes=0-0"},
            NOT_MODIFIED,
        ),
        (
            "none-match-before-bad-range",
            {"if_none_match": HELLO_TAG, "range": "bytes=99-"},
            NOT_MODIFIED,
        ),
        ("match-other-before-bad-range", {"if_match": _OTHER, "range": "bytes=99-"}, FAILED),
        (
            "modified-before-range",
            {"if_modified_since": LAST_MODIFIED, "range": "bytes=0-0"},
            NOT_MODIFIED,
        ),
        ("unmodified-before-range", {"if_unmodified_since": EARLIER, "range": "bytes=0-0"}, FAILED),
    )
]
# RFC 9110 13.2.1: MUST ignore conditions if the response without them is neither 2xx nor 412.
precedence += [
    row(f"condition-ignored-{name}", "9110 13.2.1", MUST, message, expect(*statuses))
    for name, message, statuses in (
        ("missing-match-star", get("/missing", if_match="*"), (404,)),
        ("missing-match", get("/missing", if_match=_OTHER), (404,)),
        ("missing-none-match-star", get("/missing", if_none_match="*"), (404,)),
        ("missing-unmodified", get("/missing", if_unmodified_since=EARLIER), (404,)),
        ("missing-modified", get("/missing", if_modified_since=LATER), (404,)),
        ("redirect-none-match-star", get("/sub", if_none_match="*"), (301, 302, 307, 308)),
        ("redirect-match", get("/sub", if_match=_OTHER), (301, 302, 307, 308)),
        ("redirect-unmodified", get("/sub", if_unmodified_since=EARLIER), (301, 302, 307, 308)),
    )
]


not_modified = [
    # RFC 9110 15.4.5: the headers that caches need MUST be sent if a 200 would have them.
    row(
        "304-etag", "9110 15.4.5", MUST, hello(if_none_match=HELLO_TAG), expect(304, etag=HELLO_TAG)
    ),
    row(
        "304-etag-after-date",
        "9110 15.4.5",
        MUST,
        hello(if_modified_since=LAST_MODIFIED),
        expect(304, etag=HELLO_TAG),
    ),
    row("304-date", "9110 15.4.5", MUST, hello(if_none_match=HELLO_TAG), expect(304, date=PRESENT)),
    row(
        "304-cache-control",
        "9110 15.4.5",
        OURS,
        hello(if_none_match=HELLO_TAG),
        expect(304, cache_control="no-cache"),
    ),
    row(
        "304-vary",
        "9110 15.4.5",
        MUST,
        get("/style.css", accept_encoding="gzip", if_none_match=tag("/style.css", "gzip")),
        expect(304, vary=lambda value: "accept-encoding" in value.lower())
        | expect(304, etag=tag("/style.css")),
        aserve=expect(304, vary="Accept-Encoding", etag=tag("/style.css", "gzip")),
    ),
    row(
        "304-vary-of-identity",
        "9110 15.4.5",
        OURS,
        get("/style.css", if_none_match=tag("/style.css")),
        expect(304, vary="Accept-Encoding"),
    ),
    row(
        # RFC 9110 15.4.5: other metadata SHOULD NOT be sent, except to guide cache updates.
        "304-has-no-more-metadata",
        "9110 15.4.5",
        SHOULD,
        hello(if_none_match=HELLO_TAG),
        expect(304, content_type=None, content_encoding=None, content_language=None),
    ),
    row(
        "304-has-no-last-modified",
        "9110 15.4.5",
        SHOULD,
        hello(if_none_match=HELLO_TAG),
        expect(304, last_modified=None),
    ),
    row(
        # RFC 9110 8.6: Content-Length of a 304 is that of the 200, or absent.
        "304-content-length",
        "9110 8.6",
        MUST,
        hello(if_none_match=HELLO_TAG),
        expect(304, content_length=None) | expect(304, content_length="14"),
    ),
    row(
        "304-has-no-chunks",
        "9112 6.1",
        SHOULD,
        hello(if_none_match=HELLO_TAG),
        expect(304, transfer_encoding=None),
    ),
    row(
        "304-then-get",
        "9112 6.3",
        MUST,
        [hello(if_none_match=HELLO_TAG), get("/ten.txt")],
        NOT_MODIFIED,
        expect(200, body=TEN).or_close(),
        aserve=(NOT_MODIFIED, expect(200, body=TEN)),
    ),
    row("304-of-star", "9110 15.4.5", MUST, hello(if_none_match="*"), expect(304, etag=HELLO_TAG)),
    row(
        "412-does-not-send-the-file",
        "9110 13.1.1",
        MUST,
        hello(if_match=_OTHER),
        expect(412, body=lambda response: HELLO not in response.body),
    ),
    row(
        "412-then-get",
        "9112 9.3",
        OURS,
        [hello(if_match=_OTHER), get("/ten.txt")],
        FAILED,
        expect(200, body=TEN),
    ),
]


PLAIN, GZIP, BR = (tag("/page.html", coding) for coding in ("identity", "gzip", "br"))
per_representation = [
    row(
        f"representation-{name}",
        "9110 8.8.3.3",
        level,
        get("/page.html", **headers),
        expected,
    )
    for name, level, headers, expected in (
        # A strong validator is unique across the representations of a resource (8.8.1).
        (
            "gzip-tag-is-not-the-plain-tag",
            MUST,
            {"accept_encoding": "gzip"},
            expect(200, content_encoding="gzip", etag=lambda value: value != PLAIN)
            | expect(200, content_encoding=None),
        ),
        ("plain-tag-for-plain", MUST, {"if_none_match": PLAIN}, NOT_MODIFIED),
        (
            "gzip-tag-for-gzip",
            OURS,
            {"if_none_match": GZIP, "accept_encoding": "gzip"},
            NOT_MODIFIED,
        ),
        ("gzip-tag-for-plain", OURS, {"if_none_match": GZIP}, expect(200, body=PAGE)),
        (
            "plain-tag-for-gzip",
            OURS,
            {"if_none_match": PLAIN, "accept_encoding": "gzip"},
            expect(200, content_encoding="gzip", etag=GZIP),
        ),
        (
            "br-tag-for-gzip",
            OURS,
            {"if_none_match": BR, "accept_encoding": "gzip"},
            expect(200, content_encoding="gzip"),
        ),
        (
            "all-tags",
            OURS,
            {"if_none_match": f"{PLAIN}, {GZIP}, {BR}", "accept_encoding": "br"},
            expect(304, etag=BR),
        ),
        (
            "match-gzip",
            OURS,
            {"if_match": GZIP, "accept_encoding": "gzip"},
            expect(200, content_encoding="gzip"),
        ),
        ("match-plain-for-gzip", OURS, {"if_match": PLAIN, "accept_encoding": "gzip"}, FAILED),
    )
]

ROWS: list[Row] = [
    *validators,
    *if_none_match,
    *if_modified_since,
    *twice,
    *if_match,
    *if_unmodified_since,
    *precedence,
    *not_modified,
    *per_representation,
]
