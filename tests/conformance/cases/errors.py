"""Errors and limits: what an error says, what is too much, and that its answer arrives."""

import re
from collections.abc import Callable

from tests.conformance.reader import Reply
from tests.conformance.site import HELLO, TEN
from tests.conformance.table import (
    CLOSED,
    EITHER,
    MAY,
    MUST,
    OPEN,
    OURS,
    PRESENT,
    SHOULD,
    Message,
    Row,
    get,
    head,
    post,
    reply,
    request,
    row,
)

HELD = reply(200, body=HELLO)
NEXT = get("/ten.txt")
ERROR = reply(*range(400, 500))
MARKUP = "<script>alert(1)</script>"


def says_something(found: Reply) -> bool:
    return bool(found.body.strip())


def harmless(found: Reply) -> bool:
    """Hold nothing of the request; but a redirect says where to, in a link and escaped."""
    body = (
        re.sub(rb'(?<=<a href=")/[^"<>]*(?=">)', b"", found.body)
        if found.status < 400
        else found.body
    )
    return b"alert(1)" not in body and b"/root/" not in body


def links_to(location: bytes) -> Callable[[Reply], bool]:
    return lambda found: b'<a href="%b">' % location in found.body


def tokens(value: str) -> set[str]:
    return {one.strip().lower() for one in value.split(",")}


_ERRORS: dict[str, tuple[Message, int, bool]] = {
    "400": (get("/%zz"), 400, False),
    "404": (get("/missing"), 404, False),
    "405": (post(), 405, False),
    "406": (get("/hello.txt", accept_encoding="*;q=0"), 406, False),
    "412": (get("/hello.txt", if_match='"x"'), 412, False),
    "416": (get("/ten.txt", range="bytes=99-"), 416, False),
    "501": (request("FOO", "/"), 501, False),
    "417": (get("/hello.txt", expect="x"), 417, True),
    "505": (Message(b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", "GET"), 505, True),
}
pages = [
    *(
        # RFC 9110 15.5: a representation SHOULD explain the error, except to HEAD.
        row(
            f"error-{name}-is-explained",
            "9110 15.5",
            SHOULD,
            message,
            reply(status, body=says_something, content_type=PRESENT)
            | reply(*({*range(200, 600)} - {status})),
            after=CLOSED if closes else OPEN,
            rfc_after=EITHER,
            ours=reply(status, body=says_something, content_type="text/plain; charset=utf-8"),
        )
        for name, (message, status, closes) in _ERRORS.items()
    ),
    row(
        "error-explained-to-a-browser",
        "9110 15.5",
        OURS,
        get("/missing", accept="text/html,application/xhtml+xml,*/*;q=0.8"),
        reply(
            404,
            content_type="text/html; charset=utf-8",
            body=lambda found: found.body.lower().startswith(b"<!doctype html>"),
        ),
    ),
    row(
        "error-in-text-to-a-program",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="*/*"),
        reply(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-text-where-html-is-refused",
        "9110 12.4.2",
        OURS,
        get("/missing", accept="text/html;q=0, text/plain"),
        reply(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-text-where-html-is-lighter",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="text/html;q=0.1, text/plain"),
        reply(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-accept-of-longer-name",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="text/html5000"),
        reply(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-html-in-capitals",
        "9110 8.3.1",
        OURS,
        get("/missing", accept="TEXT/HTML"),
        reply(404, content_type="text/html; charset=utf-8"),
    ),
    *(
        # RFC 9110 15.4.2: a short hypertext note with a hyperlink to the new URI, to everybody.
        row(
            f"redirect-has-a-link-{name}",
            "9110 15.4.2",
            OURS,
            get(target, **fields),
            reply(
                301,
                body=links_to(link),
                content_type="text/html; charset=utf-8",
                x_content_type_options="nosniff",
                cache_control="no-cache",
                vary=None,
            ),
        )
        for name, target, link, fields in (
            ("of-a-folder", "/sub", b"/sub/", {}),
            ("for-a-browser", "/sub", b"/sub/", {"accept": "text/html"}),
            ("for-a-program", "/sub", b"/sub/", {"accept": "text/plain"}),
            ("escaped", "/sub?a='&b", b"/sub/?a=&#x27;&amp;b", {}),
            ("of-a-target", "/<b>", b"/%3Cb%3E", {}),
            ("of-a-target-like-a-host", "//evil.example/{", b"/evil.example/%7B", {}),
        )
    ),
    *(
        # Whatever an error's text is taken for, it is not to be taken for HTML.
        row(
            f"error-{status}-is-not-sniffed",
            "9110 17.2",
            OURS,
            message,
            reply(status, x_content_type_options="nosniff"),
            after=CLOSED if closes else OPEN,
        )
        for message, status, closes in _ERRORS.values()
    ),
    row(
        "file-may-be-sniffed",
        "9110 8.3",
        OURS,
        get("/hello.txt"),
        reply(200, x_content_type_options=None),
    ),
    row(
        "error-varies-with-accept",
        "9110 12.5.5",
        OURS,
        get("/missing"),
        reply(404, vary=lambda value: "accept" in tokens(value)),
    ),
    row(
        "error-is-not-kept",
        "9111 4.2.2",
        OURS,
        get("/missing"),
        reply(404, cache_control="no-cache"),
    ),
    row(
        "error-has-length",
        "9110 8.6",
        SHOULD,
        get("/missing"),
        reply(404, content_length=re.compile(r"\d+")) | reply(404, transfer_encoding="chunked"),
    ),
    row("error-has-date", "9110 6.6.1", MUST, get("/missing"), reply(404, date=PRESENT)),
    row(
        "error-has-no-etag-of-a-file",
        "9110 8.8.3",
        OURS,
        get("/hello.txt", if_match='"x"'),
        reply(412, etag=None),
    ),
    row(
        "error-has-no-content-encoding",
        "9110 8.4",
        OURS,
        get("/missing", accept_encoding="gzip"),
        reply(404, content_encoding=None),
    ),
    row(
        "error-406-has-no-other-status",
        "9110 15.5.7",
        OURS,
        get("/hello.txt", accept_encoding="identity;q=0"),
        reply(406, etag=None),
    ),
    row(
        # RFC 9110 12.5.5: the choice failed because of Accept-Encoding: a cache must know.
        "error-406-varies-with-accept-encoding",
        "9110 12.5.5",
        SHOULD,
        get("/hello.txt", accept_encoding="identity;q=0"),
        reply(406, 415, vary=lambda value: "accept-encoding" in tokens(value)) | reply(200),
        ours=reply(406, vary=lambda value: tokens(value) == {"accept", "accept-encoding"}),
    ),
    *(
        row(
            f"error-echoes-nothing-{name}",
            "9110 17.2",
            OURS,
            message,
            reply(*range(300, 600), body=harmless),
        )
        for name, message in {
            "of-the-target": get(
                "/" + MARKUP.replace("<", "%3C").replace(">", "%3E"), accept="text/html"
            ),
            "of-the-query": get(
                "/missing?" + MARKUP.replace("<", "%3C").replace(">", "%3E"), accept="text/html"
            ),
            "of-the-raw-target": get("/" + MARKUP, accept="text/html"),
            "of-the-accept-field": get("/missing", accept=f"text/html, {MARKUP}"),
            "of-the-referer": get("/missing", referer=MARKUP, accept="text/html"),
            "of-the-range": get("/ten.txt", range="bytes=99-", x=MARKUP, accept="text/html"),
        }.items()
    ),
    row(
        "error-echoes-no-method",
        "9110 17.2",
        OURS,
        request("ALERT(1)".replace("(", "").replace(")", ""), "/", accept="text/html"),
        reply(501, body=lambda found: b"ALERT1" not in found.body),
    ),
    row(
        "error-after-bad-line-is-plain",
        "9110 15.5.1",
        OURS,
        b"<script>alert(1)</script>\r\n\r\n",
        reply(400, body=harmless),
        after=CLOSED,
    ),
    *(
        # RFC 9110 9.3.2: no content for HEAD, whatever the status.
        row(
            f"error-head-{status}",
            "9110 9.3.2",
            MUST,
            head(target, **fields),
            reply(status, body=b"") | reply(*({*range(200, 600)} - {status}), body=b""),
            ours=reply(status, body=b""),
        )
        for status, target, fields in (
            (400, "/%zz", {}),
            (404, "/missing", {}),
            (412, "/hello.txt", {"if_match": '"x"'}),
            (406, "/hello.txt", {"accept_encoding": "*;q=0"}),
        )
    ),
    row(
        "error-head-400-by-the-wire",
        "9110 9.3.2",
        MUST,
        head("/hello.txt", host=("a", "b")),
        reply(400, body=b""),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "error-head-with-bad-length",
        "9110 9.3.2",
        MUST,
        head("/hello.txt", content_length="x"),
        reply(400, body=b""),
        after=CLOSED,
    ),
]


def large(octets: int, **fields: str) -> Message:
    return get("/hello.txt", x_large="a" * octets, **fields)


# A server may parse what is longer than we wish to: then it answers what it would answer anyway.
TOO_LONG = reply(414) | reply(200, 301, 403, 404, 500)
TOO_LARGE = ERROR | HELD


limits = [
    # RFC 9112 3: a target longer than wanted MUST get 414.
    *(
        row(
            f"limit-target-{name}",
            "9112 3",
            MUST,
            get("/" + "a" * octets),
            TOO_LONG,
            after=CLOSED,
            rfc_after=EITHER,
            ours=reply(414),
        )
        for name, octets in {"of-20-kb": 20_000, "of-100-kb": 100_000}.items()
    ),
    row(
        "limit-query-of-100-kb",
        "9112 3",
        MUST,
        get("/hello.txt?" + "a" * 100_000),
        TOO_LONG,
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(414),
    ),
    *(
        # RFC 9112 3: a method longer than any that is implemented SHOULD get 501.
        row(
            f"limit-method-of-{name}",
            "9112 3",
            OURS,
            octets,
            reply(501),
            after=CLOSED,
        )
        for name, octets in {
            "8190-octets": b"M" * 8_190 + b" / HTTP/1.1\r\nHost: test\r\n\r\n",
            "100-kb": b"M" * 100_000 + b" / HTTP/1.1\r\nHost: test\r\n\r\n",
            "no-end": b"M" * 100_000,
        }.items()
    ),
    row(
        "limit-target-without-end",
        "9112 3",
        MUST,
        b"GET /" + b"a" * 100_000,
        reply(414).or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(414),
    ),
    row(
        "limit-target-with-head",
        "9112 3",
        MUST,
        head("/" + "a" * 20_000),
        reply(414, 200, 301, 403, 404, 500, body=b""),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(414, body=b""),
    ),
    # RFC 9110 5.4: MUST respond with an appropriate 4xx to fields larger than wished; 6585 5: 431.
    *(
        row(
            f"limit-field-{name}",
            "9110 5.4",
            MUST,
            message,
            TOO_LARGE,
            after=CLOSED,
            rfc_after=EITHER,
            ours=reply(431),
        )
        for name, message in {
            "of-100-kb": large(100_000),
            "of-1-mb": large(1_000_000),
            "name-of-100-kb": get("/hello.txt", **{"x" * 100_000: "a"}),
            "lines-of-200-kb": get("/hello.txt", x_line=["a" * 1_000] * 200),
        }.items()
    ),
    row(
        "limit-host-of-100-kb",
        "9110 5.4",
        MUST,
        get("/hello.txt", host="a" * 100_000),
        TOO_LARGE,
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(431),
    ),
    row(
        "limit-field-without-end",
        "9110 5.4",
        MUST,
        b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 100_000,
        ERROR.or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(431),
    ),
    row(
        "limit-many-fields",
        "6585 5",
        OURS,
        get("/hello.txt", x_line=["a"] * 1_000),
        reply(431),
        after=CLOSED,
    ),
    row(
        "limit-431-to-head",
        "6585 5",
        MUST,
        head("/", x_large="a" * 100_000),
        reply(200, *range(400, 500), body=b""),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(431, body=b""),
    ),
    row("limit-field-of-4-kb-is-fine", "9110 5.4", OURS, large(4_000), HELD),
    row("limit-field-of-16-kb-is-fine", "9110 5.4", OURS, large(16_000), HELD),
    row("limit-60-fields-are-fine", "9110 5.4", OURS, get("/hello.txt", x_line=["a"] * 60), HELD),
    row(
        "limit-list-of-1000-is-fine",
        "9110 5.6.1.2",
        OURS,
        get("/hello.txt", if_none_match=", ".join(['"x"'] * 1_000)),
        HELD,
    ),
    # RFC 9110 15.5.14: too large is 413, and the reply has to arrive (RFC 9112 9.6).
    row(
        "limit-content",
        "9110 15.5.14",
        OURS,
        [post(content_length=str(2**30))],
        reply(413),
        after=CLOSED,
    ),
    row(
        "limit-content-sent-in-full",
        "9112 9.6",
        MUST,
        post(body=b"x" * 3_000_000),
        reply(*range(200, 600)),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(413),
    ),
    row(
        "limit-content-in-chunks",
        "9110 15.5.14",
        OURS,
        post(body=b"1000\r\n" + b"x" * 4_096 + b"\r\n", transfer_encoding="chunked").octets
        + (b"1000\r\n" + b"x" * 4_096 + b"\r\n") * 300
        + b"0\r\n\r\n",
        reply(413),
        after=CLOSED,
    ),
    row(
        "limit-chunk-announced",
        "9110 15.5.14",
        OURS,
        post(body=b"40000000\r\nabc", transfer_encoding="chunked"),
        reply(413),
        after=CLOSED,
    ),
    # RFC 9112 7.1.1: a server ought to limit chunk extensions, 6.5.1 trailers.
    row(
        "limit-chunk-extension",
        "9112 7.1.1",
        OURS,
        post(body=b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n", transfer_encoding="chunked"),
        reply(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-chunk-extensions",
        "9112 7.1.1",
        OURS,
        post(
            body=b"1;a=bcdefghijklmnopqrstuvwxyz\r\nx\r\n" * 5_000 + b"0\r\n\r\n",
            transfer_encoding="chunked",
        ),
        reply(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-chunk-size-of-zeros",
        "9112 7.1",
        OURS,
        post(body=b"0" * 100_000 + b"3\r\nabc\r\n0\r\n\r\n", transfer_encoding="chunked"),
        reply(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-trailers",
        "9110 6.5.1",
        OURS,
        post(body=b"0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n", transfer_encoding="chunked"),
        reply(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-empty-lines",
        "9112 2.2",
        MAY,
        b"\r\n" * 2_000 + get("/hello.txt").octets,
        HELD | reply(400),
        ours=HELD,
    ),
    # Refused is refused: what follows is not answered, and what was said arrives.
    row(
        "limit-refused-then-more",
        "9112 9.6",
        OURS,
        [get("/", host=None), *[NEXT] * 500],
        reply(400),
        after=CLOSED,
    ),
]

patience = [
    # RFC 9110 15.5.9: 408 says that the server would not wait any longer; it SHOULD say close.
    row(
        "patience-for-a-head",
        "9110 15.5.9",
        OURS,
        b"GET / HTTP/1.1\r\nHost: te",
        reply(408),
        after=CLOSED,
        waits=True,
    ),
    row(
        "patience-for-a-request-line",
        "9110 15.5.9",
        OURS,
        b"G",
        reply(408),
        after=CLOSED,
        waits=True,
    ),
    row(
        "patience-for-content",
        "9110 15.5.9",
        OURS,
        post(content_length="5").octets + b"ab",
        reply(408),
        after=CLOSED,
        waits=True,
    ),
    row(
        "patience-for-a-chunk",
        "9110 15.5.9",
        OURS,
        post(body=b"5\r\nab", transfer_encoding="chunked"),
        reply(408),
        after=CLOSED,
        waits=True,
    ),
    row(
        "patience-says-close",
        "9110 15.5.9",
        OURS,
        b"GET / HTTP/1.1\r\n",
        reply(408, connection="close"),
        after=CLOSED,
        waits=True,
    ),
    # RFC 9112 9.5: an idle connection is closed, and without a word: nobody asked anything.
    row(
        "patience-when-idle",
        "9112 9.5",
        OURS,
        get("/ten.txt"),
        reply(200, body=TEN),
        after=CLOSED,
        waits=True,
    ),
    row("patience-with-nothing", "9112 9.5", OURS, [], after=CLOSED, waits=True),
]

ROWS: list[Row] = [*pages, *limits, *patience]
