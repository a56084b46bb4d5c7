"""Errors and limits: error pages, limits exceeded, and that the response arrives."""

import re
from collections.abc import Callable

from tests.conformance.reader import Response
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
    expect,
    get,
    head,
    post,
    request,
    row,
)

HELLO_OK = expect(200, body=HELLO)
NEXT = get("/ten.txt")
CLIENT_ERROR = expect(*range(400, 500))
MARKUP = "<script>alert(1)</script>"


def has_text(response: Response) -> bool:
    return bool(response.body.strip())


def echoes_nothing(response: Response) -> bool:
    """Tell whether the body has nothing from the request, except the link of a redirect."""
    body = (
        re.sub(rb'(?<=<a href=")/[^"<>]*(?=">)', b"", response.body)
        if response.status < 400
        else response.body
    )
    return b"alert(1)" not in body and b"/root/" not in body


def links_to(location: bytes) -> Callable[[Response], bool]:
    return lambda response: b'<a href="%b">' % location in response.body


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
            expect(status, body=has_text, content_type=PRESENT)
            | expect(*({*range(200, 600)} - {status})),
            after=CLOSED if closes else OPEN,
            rfc_after=EITHER,
            aserve=expect(status, body=has_text, content_type="text/plain; charset=utf-8"),
        )
        for name, (message, status, closes) in _ERRORS.items()
    ),
    row(
        "error-explained-to-a-browser",
        "9110 15.5",
        OURS,
        get("/missing", accept="text/html,application/xhtml+xml,*/*;q=0.8"),
        expect(
            404,
            content_type="text/html; charset=utf-8",
            body=lambda response: response.body.lower().startswith(b"<!doctype html>"),
        ),
    ),
    row(
        "error-in-text-to-a-program",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="*/*"),
        expect(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-text-where-html-is-rejected",
        "9110 12.4.2",
        OURS,
        get("/missing", accept="text/html;q=0, text/plain"),
        expect(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-text-where-html-is-lighter",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="text/html;q=0.1, text/plain"),
        expect(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-accept-of-longer-name",
        "9110 12.5.1",
        OURS,
        get("/missing", accept="text/html5000"),
        expect(404, content_type="text/plain; charset=utf-8"),
    ),
    row(
        "error-in-html-in-capitals",
        "9110 8.3.1",
        OURS,
        get("/missing", accept="TEXT/HTML"),
        expect(404, content_type="text/html; charset=utf-8"),
    ),
    *(
        # RFC 9110 15.4.2: a short hypertext note with a link to the new URI, for every client.
        row(
            f"redirect-has-a-link-{name}",
            "9110 15.4.2",
            OURS,
            get(target, **headers),
            expect(
                301,
                body=links_to(link),
                content_type="text/html; charset=utf-8",
                x_content_type_options="nosniff",
                cache_control="no-cache",
                vary=None,
            ),
        )
        for name, target, link, headers in (
            ("of-a-directory", "/sub", b"/sub/", {}),
            ("for-a-browser", "/sub", b"/sub/", {"accept": "text/html"}),
            ("for-a-program", "/sub", b"/sub/", {"accept": "text/plain"}),
            ("escaped", "/sub?a='&b", b"/sub/?a=&#x27;&amp;b", {}),
            ("of-a-target", "/<b>", b"/%3Cb%3E", {}),
            ("of-a-target-like-a-host", "//evil.example/{", b"/evil.example/%7B", {}),
        )
    ),
    *(
        # A text error page must never be interpreted as HTML.
        row(
            f"error-{status}-is-not-sniffed",
            "9110 17.2",
            OURS,
            message,
            expect(status, x_content_type_options="nosniff"),
            after=CLOSED if closes else OPEN,
        )
        for message, status, closes in _ERRORS.values()
    ),
    row(
        "file-may-be-sniffed",
        "9110 8.3",
        OURS,
        get("/hello.txt"),
        expect(200, x_content_type_options=None),
    ),
    row(
        "error-varies-with-accept",
        "9110 12.5.5",
        OURS,
        get("/missing"),
        expect(404, vary=lambda value: "accept" in tokens(value)),
    ),
    row(
        "error-is-not-cached",
        "9111 4.2.2",
        OURS,
        get("/missing"),
        expect(404, cache_control="no-cache"),
    ),
    row(
        "error-has-length",
        "9110 8.6",
        SHOULD,
        get("/missing"),
        expect(404, content_length=re.compile(r"\d+")) | expect(404, transfer_encoding="chunked"),
    ),
    row("error-has-date", "9110 6.6.1", MUST, get("/missing"), expect(404, date=PRESENT)),
    row(
        "error-has-no-etag-of-a-file",
        "9110 8.8.3",
        OURS,
        get("/hello.txt", if_match='"x"'),
        expect(412, etag=None),
    ),
    row(
        "error-has-no-content-encoding",
        "9110 8.4",
        OURS,
        get("/missing", accept_encoding="gzip"),
        expect(404, content_encoding=None),
    ),
    row(
        "error-406-has-no-other-status",
        "9110 15.5.7",
        OURS,
        get("/hello.txt", accept_encoding="identity;q=0"),
        expect(406, etag=None),
    ),
    row(
        # RFC 9110 12.5.5: the selection failed because of Accept-Encoding, which a cache must know.
        "error-406-varies-with-accept-encoding",
        "9110 12.5.5",
        SHOULD,
        get("/hello.txt", accept_encoding="identity;q=0"),
        expect(406, 415, vary=lambda value: "accept-encoding" in tokens(value)) | expect(200),
        aserve=expect(406, vary=lambda value: tokens(value) == {"accept", "accept-encoding"}),
    ),
    *(
        row(
            f"error-echoes-nothing-{name}",
            "9110 17.2",
            OURS,
            message,
            expect(*range(300, 600), body=echoes_nothing),
        )
        for name, message in {
            "of-the-target": get(
                "/" + MARKUP.replace("<", "%3C").replace(">", "%3E"), accept="text/html"
            ),
            "of-the-query": get(
                "/missing?" + MARKUP.replace("<", "%3C").replace(">", "%3E"), accept="text/html"
            ),
            "of-the-raw-target": get("/" + MARKUP, accept="text/html"),
            "of-the-accept-header": get("/missing", accept=f"text/html, {MARKUP}"),
            "of-the-referer": get("/missing", referer=MARKUP, accept="text/html"),
            "of-the-range": get("/ten.txt", range="bytes=99-", x=MARKUP, accept="text/html"),
        }.items()
    ),
    row(
        "error-echoes-no-method",
        "9110 17.2",
        OURS,
        request("ALERT(1)".replace("(", "").replace(")", ""), "/", accept="text/html"),
        expect(501, body=lambda response: b"ALERT1" not in response.body),
    ),
    row(
        "error-after-bad-line-is-plain",
        "9110 15.5.1",
        OURS,
        b"<script>alert(1)</script>\r\n\r\n",
        expect(400, body=echoes_nothing),
        after=CLOSED,
    ),
    *(
        # RFC 9110 9.3.2: no body for HEAD, whatever the status.
        row(
            f"error-head-{status}",
            "9110 9.3.2",
            MUST,
            head(target, **headers),
            expect(status, body=b"") | expect(*({*range(200, 600)} - {status}), body=b""),
            aserve=expect(status, body=b""),
        )
        for status, target, headers in (
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
        expect(400, body=b""),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "error-head-with-bad-length",
        "9110 9.3.2",
        MUST,
        head("/hello.txt", content_length="x"),
        expect(400, body=b""),
        after=CLOSED,
    ),
]


def large(data: int, **headers: str) -> Message:
    return get("/hello.txt", x_large="a" * data, **headers)


# A server may accept more than aserve does, and then responds as usual.
TOO_LONG = expect(414) | expect(200, 301, 403, 404, 500)
TOO_LARGE = CLIENT_ERROR | HELLO_OK


limits = [
    # RFC 9112 3: a target longer than the server accepts MUST get 414.
    *(
        row(
            f"limit-target-{name}",
            "9112 3",
            MUST,
            get("/" + "a" * data),
            TOO_LONG,
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(414),
        )
        for name, data in {"of-20-kb": 20_000, "of-100-kb": 100_000}.items()
    ),
    row(
        "limit-query-of-100-kb",
        "9112 3",
        MUST,
        get("/hello.txt?" + "a" * 100_000),
        TOO_LONG,
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(414),
    ),
    *(
        # RFC 9112 3: a method longer than any implemented one SHOULD get 501.
        row(
            f"limit-method-of-{name}",
            "9112 3",
            OURS,
            data,
            expect(501),
            after=CLOSED,
        )
        for name, data in {
            "8190-bytes": b"M" * 8_190 + b" / HTTP/1.1\r\nHost: test\r\n\r\n",
            "100-kb": b"M" * 100_000 + b" / HTTP/1.1\r\nHost: test\r\n\r\n",
            "no-end": b"M" * 100_000,
        }.items()
    ),
    row(
        "limit-target-without-end",
        "9112 3",
        MUST,
        b"GET /" + b"a" * 100_000,
        expect(414).or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(414),
    ),
    row(
        "limit-target-with-head",
        "9112 3",
        MUST,
        head("/" + "a" * 20_000),
        expect(414, 200, 301, 403, 404, 500, body=b""),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(414, body=b""),
    ),
    # RFC 9110 5.4: MUST respond with a suitable 4xx to headers that are too large; RFC 6585 5: 431.
    *(
        row(
            f"limit-header-{name}",
            "9110 5.4",
            MUST,
            message,
            TOO_LARGE,
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(431),
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
        aserve=expect(431),
    ),
    row(
        "limit-header-without-end",
        "9110 5.4",
        MUST,
        b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 100_000,
        CLIENT_ERROR.or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(431),
    ),
    row(
        "limit-many-headers",
        "6585 5",
        OURS,
        get("/hello.txt", x_line=["a"] * 1_000),
        expect(431),
        after=CLOSED,
    ),
    row(
        "limit-431-to-head",
        "6585 5",
        MUST,
        head("/", x_large="a" * 100_000),
        expect(200, *range(400, 500), body=b""),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(431, body=b""),
    ),
    row("limit-header-of-4-kb-is-fine", "9110 5.4", OURS, large(4_000), HELLO_OK),
    row("limit-header-of-16-kb-is-fine", "9110 5.4", OURS, large(16_000), HELLO_OK),
    row(
        "limit-60-headers-are-fine",
        "9110 5.4",
        OURS,
        get("/hello.txt", x_line=["a"] * 60),
        HELLO_OK,
    ),
    row(
        "limit-list-of-1000-is-fine",
        "9110 5.6.1.2",
        OURS,
        get("/hello.txt", if_none_match=", ".join(['"x"'] * 1_000)),
        HELLO_OK,
    ),
    # RFC 9110 15.5.14: a body too large gets 413, and the response must arrive (RFC 9112 9.6).
    row(
        "limit-content",
        "9110 15.5.14",
        OURS,
        [post(content_length=str(2**30))],
        expect(413),
        after=CLOSED,
    ),
    row(
        "limit-content-sent-in-full",
        "9112 9.6",
        MUST,
        post(body=b"x" * 3_000_000),
        expect(*range(200, 600)),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(413),
    ),
    row(
        "limit-content-in-chunks",
        "9110 15.5.14",
        OURS,
        post(body=b"1000\r\n" + b"x" * 4_096 + b"\r\n", transfer_encoding="chunked").data
        + (b"1000\r\n" + b"x" * 4_096 + b"\r\n") * 300
        + b"0\r\n\r\n",
        expect(413),
        after=CLOSED,
    ),
    row(
        "limit-chunk-announced",
        "9110 15.5.14",
        OURS,
        post(body=b"40000000\r\nabc", transfer_encoding="chunked"),
        expect(413),
        after=CLOSED,
    ),
    # RFC 9112 7.1.1: a server ought to limit chunk extensions, and trailers (6.5.1).
    row(
        "limit-chunk-extension",
        "9112 7.1.1",
        OURS,
        post(body=b"3;" + b"a" * 100_000 + b"\r\nabc\r\n0\r\n\r\n", transfer_encoding="chunked"),
        expect(431, 413, 400),
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
        expect(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-chunk-size-of-zeros",
        "9112 7.1",
        OURS,
        post(body=b"0" * 100_000 + b"3\r\nabc\r\n0\r\n\r\n", transfer_encoding="chunked"),
        expect(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-trailers",
        "9110 6.5.1",
        OURS,
        post(body=b"0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n", transfer_encoding="chunked"),
        expect(431, 413, 400),
        after=CLOSED,
    ),
    row(
        "limit-empty-lines",
        "9112 2.2",
        MAY,
        b"\r\n" * 2_000 + get("/hello.txt").data,
        HELLO_OK | expect(400),
        aserve=HELLO_OK,
    ),
    # After a rejected request nothing is answered, and the error response arrives.
    row(
        "limit-rejected-then-more",
        "9112 9.6",
        OURS,
        [get("/", host=None), *[NEXT] * 500],
        expect(400),
        after=CLOSED,
    ),
]

timeout = [
    # RFC 9110 15.5.9: 408 means that the server gave up waiting; it SHOULD send close.
    row(
        "timeout-for-a-head",
        "9110 15.5.9",
        OURS,
        b"GET / HTTP/1.1\r\nHost: te",
        expect(408),
        after=CLOSED,
        awaits_timeout=True,
    ),
    row(
        "timeout-for-a-request-line",
        "9110 15.5.9",
        OURS,
        b"G",
        expect(408),
        after=CLOSED,
        awaits_timeout=True,
    ),
    row(
        "timeout-for-content",
        "9110 15.5.9",
        OURS,
        post(content_length="5").data + b"ab",
        expect(408),
        after=CLOSED,
        awaits_timeout=True,
    ),
    row(
        "timeout-for-a-chunk",
        "9110 15.5.9",
        OURS,
        post(body=b"5\r\nab", transfer_encoding="chunked"),
        expect(408),
        after=CLOSED,
        awaits_timeout=True,
    ),
    row(
        "timeout-sends-close",
        "9110 15.5.9",
        OURS,
        b"GET / HTTP/1.1\r\n",
        expect(408, connection="close"),
        after=CLOSED,
        awaits_timeout=True,
    ),
    # RFC 9112 9.5: an idle connection is closed without a response: there is no request.
    row(
        "timeout-when-idle",
        "9112 9.5",
        OURS,
        get("/ten.txt"),
        expect(200, body=TEN),
        after=CLOSED,
        awaits_timeout=True,
    ),
    row("timeout-with-nothing", "9112 9.5", OURS, [], after=CLOSED, awaits_timeout=True),
]

ROWS: list[Row] = [*pages, *limits, *timeout]
