"""Persistence, pipelining, upgrades and expectations (RFC 9112 9, RFC 9110 7.6.1, 7.8, 10.1.1)."""

from typing import Any

from tests.conformance.site import HELLO, LARGE, TEN
from tests.conformance.table import (
    ANY_RESPONSE,
    CLOSED,
    EITHER,
    MAY,
    MUST,
    OPEN,
    OURS,
    SHOULD,
    Message,
    Row,
    chunked,
    expect,
    get,
    head,
    post,
    request,
    row,
    tag,
)

HELLO_OK = expect(200, body=HELLO)
TEN_OK = expect(200, body=TEN)
NEXT = get("/ten.txt")
MISSING = expect(404)


def hello(**headers: Any) -> Message:
    return get("/hello.txt", **headers)


def has_close(value: str) -> bool:
    return "close" in [one.strip().lower() for one in value.split(",")]


def has_keep_alive(value: str) -> bool:
    return "keep-alive" in [one.strip().lower() for one in value.split(",")]


persistence = [
    # RFC 9112 9.3: persistent by default in HTTP/1.1; a server SHOULD keep it open.
    row("persistent", "9112 9.3", SHOULD, hello(), HELLO_OK, rfc_after=OPEN),
    row(
        "persistent-for-head",
        "9112 9.3",
        SHOULD,
        head("/hello.txt"),
        expect(200, body=b""),
        rfc_after=OPEN,
    ),
    row("persistent-after-404", "9112 9.3", SHOULD, get("/missing"), MISSING, rfc_after=OPEN),
    row(
        "persistent-after-304",
        "9112 9.3",
        SHOULD,
        hello(if_none_match="*"),
        expect(304),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-206",
        "9112 9.3",
        SHOULD,
        hello(range="bytes=0-0"),
        expect(206),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-301",
        "9112 9.3",
        SHOULD,
        get("/sub"),
        expect(301, 302, 307, 308),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-large",
        "9112 9.3",
        SHOULD,
        get("/large.bin"),
        expect(200, body=LARGE),
        rfc_after=OPEN,
    ),
    row(
        "persistent-sends-no-connection-header",
        "9112 9.3",
        OURS,
        hello(),
        expect(200, connection=None),
    ),
    row(
        "keep-alive-in-1.1",
        "9112 9.3",
        SHOULD,
        hello(connection="keep-alive"),
        HELLO_OK,
        rfc_after=OPEN,
    ),
    row(
        "connection-of-another-option",
        "9110 7.6.1",
        SHOULD,
        hello(connection="te"),
        HELLO_OK,
        rfc_after=OPEN,
    ),
    row(
        "connection-option-closed-is-not-close",
        "9110 7.6.1",
        OURS,
        hello(connection="closed"),
        HELLO_OK,
    ),
    row("connection-empty", "9110 5.6.1.2", OURS, hello(connection=""), HELLO_OK),
    # RFC 9112 9.6: MUST close after the response, and SHOULD send close in it.
    *(
        row(
            f"close-{name}",
            "9112 9.6",
            MUST,
            hello(connection=value),
            HELLO_OK,
            after=CLOSED,
        )
        for name, value in {
            "asked": "close",
            "asked-in-capitals": "Close",
            "asked-in-list": "te, close",
            "asked-in-list-without-whitespace": "te,close,x",
            "asked-with-keep-alive": "keep-alive, close",
            "asked-in-lines": ("te", "close"),
            "asked-among-empty-elements": ", close ,",
        }.items()
    ),
    *(
        row(
            f"close-sends-close-{name}",
            "9112 9.6",
            SHOULD,
            message,
            expect(*statuses, connection=has_close),
            after=CLOSED,
        )
        for name, message, statuses in (
            ("with-200", hello(connection="close"), (200,)),
            ("with-404", get("/missing", connection="close"), (404,)),
            ("with-304", hello(connection="close", if_none_match="*"), (304,)),
            ("with-head", head("/hello.txt", connection="close"), (200,)),
        )
    ),
    row(
        "close-after-400-sends-close",
        "9112 9.6",
        SHOULD,
        hello(host=None),
        expect(400, connection=has_close),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "close-after-large",
        "9112 9.6",
        MUST,
        get("/large.bin", connection="close"),
        expect(200, body=LARGE),
        after=CLOSED,
    ),
    row(
        "close-after-post",
        "9112 9.6",
        MUST,
        post(body=b"abc", connection="close"),
        ANY_RESPONSE,
        after=CLOSED,
        aserve=expect(405),
    ),
    # RFC 9112 9.6: MUST NOT process any further requests on that connection.
    row(
        "close-then-more",
        "9112 9.6",
        MUST,
        [hello(connection="close"), NEXT],
        HELLO_OK,
        after=CLOSED,
    ),
    row(
        "close-then-much-more",
        "9112 9.6",
        MUST,
        [hello(connection="close"), *[NEXT] * 50],
        HELLO_OK,
        after=CLOSED,
    ),
    row(
        "close-then-junk",
        "9112 9.6",
        MUST,
        [hello(connection="close"), b"\x00junk\r\n\r\n"],
        HELLO_OK,
        after=CLOSED,
    ),
    row(
        "close-in-second",
        "9112 9.6",
        MUST,
        [hello(), get("/ten.txt", connection="close"), hello()],
        HELLO_OK,
        TEN_OK,
        after=CLOSED,
    ),
    # RFC 9112 9.3: HTTP/1.0 closes unless keep-alive is requested and accepted.
    row("close-by-1.0", "9112 9.3", MUST, hello(minor=0), HELLO_OK, after=CLOSED),
    row("close-by-1.0-then-more", "9112 9.3", MUST, [hello(minor=0), NEXT], HELLO_OK, after=CLOSED),
    row(
        "close-by-1.0-sends-close",
        "9112 9.6",
        SHOULD,
        hello(minor=0),
        expect(200, connection=has_close) | expect(200, connection=None),
        after=CLOSED,
    ),
    row(
        "close-by-1.0-with-both",
        "9112 9.3",
        MUST,
        hello(minor=0, connection="keep-alive, close"),
        HELLO_OK,
        after=CLOSED,
    ),
    row("keep-alive-in-1.0", "9112 9.3", MAY, hello(minor=0, connection="keep-alive"), HELLO_OK),
    row(
        "keep-alive-in-1.0-in-capitals",
        "9112 9.3",
        MAY,
        hello(minor=0, connection="Keep-Alive"),
        HELLO_OK,
    ),
    # RFC 9112 C.2.2: if it stays open, an HTTP/1.0 client must be sent keep-alive.
    row(
        "keep-alive-in-1.0-is-sent",
        "9112 C.2.2",
        OURS,
        hello(minor=0, connection="keep-alive"),
        expect(200, connection=has_keep_alive),
    ),
    row(
        "keep-alive-in-1.0-then-more",
        "9112 9.3",
        MAY,
        [hello(minor=0, connection="keep-alive"), NEXT],
        HELLO_OK,
        TEN_OK.or_close(),
        aserve=(HELLO_OK, TEN_OK),
    ),
    row(
        "keep-alive-in-1.0-with-404",
        "9112 9.3",
        OURS,
        get("/missing", minor=0, connection="keep-alive"),
        MISSING,
    ),
    row(
        "proxy-connection-is-no-option",
        "9112 C.2.2",
        MUST,
        hello(minor=0, proxy_connection="keep-alive"),
        HELLO_OK,
        after=CLOSED,
    ),
    row(
        "proxy-connection-close-is-no-option",
        "9112 C.2.2",
        OURS,
        hello(proxy_connection="close"),
        HELLO_OK,
    ),
]

pipelining = [
    # RFC 9112 9.3.2: responses MUST be sent in the order of the requests.
    row(
        "pipeline-two",
        "9112 9.3.2",
        MUST,
        [hello(), NEXT],
        HELLO_OK,
        TEN_OK.or_close(),
        aserve=(HELLO_OK, TEN_OK),
    ),
    row("pipeline-twenty", "9112 9.3.2", MUST, [hello(), NEXT] * 10, *[HELLO_OK, TEN_OK] * 10),
    row(
        "pipeline-two-hundred", "9112 9.3.2", MUST, [hello(), NEXT] * 100, *[HELLO_OK, TEN_OK] * 100
    ),
    row(
        "pipeline-large-first",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), NEXT],
        expect(200, body=LARGE),
        TEN_OK,
    ),
    row(
        "pipeline-large-thrice",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), NEXT] * 3,
        *[expect(200, body=LARGE), TEN_OK] * 3,
    ),
    row(
        "pipeline-with-error-inside",
        "9112 9.3.2",
        MUST,
        [hello(), get("/missing"), NEXT],
        HELLO_OK,
        MISSING,
        TEN_OK.or_close(),
        aserve=(HELLO_OK, MISSING, TEN_OK),
    ),
    row(
        "pipeline-of-methods",
        "9112 9.3.2",
        MUST,
        [hello(), head("/ten.txt"), request("OPTIONS", "*"), NEXT],
        HELLO_OK,
        expect(200, body=b""),
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(HELLO_OK, expect(200, body=b""), expect(200, 204), TEN_OK),
    ),
    row(
        "pipeline-of-statuses",
        "9112 9.3.2",
        MUST,
        [
            hello(if_none_match=tag("/hello.txt")),
            hello(range="bytes=0-0"),
            get("/ten.txt", range="bytes=99-"),
            get("/sub"),
            NEXT,
        ],
        expect(304),
        expect(206, body=b"H") | HELLO_OK,
        expect(416, 200).or_close(),
        expect(301, 302, 307, 308).or_close(),
        TEN_OK.or_close(),
        aserve=(expect(304), expect(206, body=b"H"), expect(416), expect(301), TEN_OK),
    ),
    row(
        "pipeline-with-contents",
        "9112 9.3.2",
        MUST,
        [post(body=b"abc"), post(body=chunked(b"abc"), transfer_encoding="chunked"), NEXT],
        ANY_RESPONSE,
        ANY_RESPONSE.or_close(),
        TEN_OK.or_close(),
        aserve=(expect(405), expect(405), TEN_OK),
    ),
    # A valid request is still answered, first, if the next one is invalid.
    row(
        "pipeline-valid-then-bad",
        "9112 9.3.2",
        MUST,
        [hello(), b"bad\r\n\r\n"],
        HELLO_OK,
        expect(400).or_close(),
        after=CLOSED,
        aserve=(HELLO_OK, expect(400)),
    ),
    row(
        "pipeline-valid-then-bad-then-valid",
        "9112 2.2",
        SHOULD,
        [hello(), b"bad\r\n\r\n", NEXT],
        HELLO_OK,
        expect(400).or_close(),
        after=CLOSED,
        aserve=(HELLO_OK, expect(400)),
    ),
    row(
        "pipeline-large-then-bad",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), b"bad\r\n\r\n"],
        expect(200, body=LARGE),
        expect(400).or_close(),
        after=CLOSED,
        aserve=(expect(200, body=LARGE), expect(400)),
    ),
    row(
        "pipeline-valid-then-no-host",
        "9112 3.2",
        MUST,
        [hello(), get("/ten.txt", host=None)],
        HELLO_OK,
        expect(400).or_close(),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=(HELLO_OK, expect(400)),
    ),
    row(
        "pipeline-valid-then-version-2",
        "9110 15.6.6",
        SHOULD,
        [hello(), b"GET / HTTP/2.0\r\nHost: test\r\n\r\n"],
        HELLO_OK,
        expect(505, 400).or_close(),
        after=CLOSED,
        aserve=(HELLO_OK, expect(505)),
    ),
    row(
        "pipeline-valid-then-cut",
        "9112 8",
        MUST,
        [hello(), b"GET /ten.txt HTTP/1.1\r\nHo"],
        HELLO_OK,
        expect(400, 408).or_close(),
        half_closes=True,
        after=CLOSED,
        aserve=(HELLO_OK, expect(400)),
    ),
    # A head split anywhere is the same head.
    row("byte-by-byte", "9112 2.2", MUST, hello(), HELLO_OK, byte_by_byte=True),
    row(
        "byte-by-byte-pipelined",
        "9112 2.2",
        MUST,
        [hello(), head("/ten.txt"), NEXT],
        HELLO_OK,
        expect(200, body=b""),
        TEN_OK,
        byte_by_byte=True,
    ),
    row(
        "byte-by-byte-in-chunks",
        "9112 7.1",
        MUST,
        [
            post(body=chunked(b"abc", b"defg", trailer=b"X-A: b\r\n"), transfer_encoding="chunked"),
            NEXT,
        ],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        byte_by_byte=True,
        aserve=(expect(405), TEN_OK),
    ),
    row(
        "byte-by-byte-bad",
        "9112 2.2",
        SHOULD,
        b"GET /hello.txt HTTP/1.1\r\nHost: test\r\nbad\r\n\r\n",
        expect(400),
        after=CLOSED,
        byte_by_byte=True,
    ),
]

upgrades = [
    # RFC 9110 7.8: a server MAY ignore Upgrade; an offer of HTTP/2 is answered in HTTP/1.1.
    *(
        row(
            f"upgrade-{name}",
            "9110 7.8",
            OURS if protocol == "h2c" else MAY,  # servers with HTTP/2 accept it
            [hello(connection=connection, upgrade=protocol, **others), NEXT],
            expect(200, body=HELLO, interim=()) | expect(426),
            TEN_OK.or_close(),
            aserve=(expect(200, body=HELLO, interim=()), TEN_OK),
        )
        for name, connection, protocol, others in (
            (
                "h2c",
                "Upgrade, HTTP2-Settings",
                "h2c",
                {"http2_settings": "AAMAAABkAARAAAAAAAIAAAAA"},
            ),
            (
                "websocket",
                "Upgrade",
                "websocket",
                {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==", "sec_websocket_version": "13"},
            ),
            ("unknown", "upgrade", "foo/2", {}),
            ("list", "upgrade", "foo/2, bar", {}),
            ("without-connection", "te", "h2c", {}),
        )
    ),
    row(
        "upgrade-with-content",
        "9110 7.8",
        MUST,
        [post(body=b"abc", connection="Upgrade", upgrade="foo"), NEXT],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(expect(405), TEN_OK),
    ),
    row(
        "upgrade-with-chunks",
        "9110 7.8",
        MUST,
        [
            post(
                body=chunked(b"abc"),
                transfer_encoding="chunked",
                connection="Upgrade",
                upgrade="foo",
            ),
            NEXT,
        ],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(expect(405), TEN_OK),
    ),
    # RFC 9110 7.8: MUST ignore an Upgrade of an HTTP/1.0 request.
    row(
        "upgrade-in-1.0",
        "9110 7.8",
        MUST,
        hello(minor=0, connection="Upgrade", upgrade="websocket"),
        expect(200, body=HELLO, interim=()),
        after=CLOSED,
        rfc_after=EITHER,
    ),
]

CONTINUE = expect(*range(200, 600), interim=(100,))
FINAL_AT_ONCE = expect(405, interim=())
expectations = [
    # RFC 9110 10.1.1: MUST send 100 or a final status, and not wait for the body.
    row(
        "expect-continue",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", content_length="3"),
        CONTINUE,
        continue_body=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-capitals",
        "9110 10.1.1",
        MUST,
        post(expect="100-Continue", content_length="3"),
        CONTINUE,
        continue_body=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-chunks",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", transfer_encoding="chunked"),
        CONTINUE,
        continue_body=chunked(b"abc"),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-too-large",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", content_length=str(2**40)),
        CONTINUE.or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(413, 405, interim=()),
    ),
    row(
        "expect-continue-with-get-content",
        "9110 10.1.1",
        MUST,
        hello(expect="100-continue", content_length="3"),
        CONTINUE,
        continue_body=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        aserve=expect(200, body=HELLO, interim=()),
    ),
    row(
        # The client may send the body anyway: it must not be parsed as the next request.
        "expect-continue-and-content-at-once",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", body=NEXT.data),
        CONTINUE,
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-for-missing-file",
        "9110 10.1.1",
        MUST,
        request("PUT", "/missing", expect="100-continue", content_length="3"),
        CONTINUE,
        continue_body=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    # RFC 9110 10.1.1: for a request without a body, a server MAY omit 100.
    row(
        "expect-continue-without-content",
        "9110 10.1.1",
        MAY,
        hello(expect="100-continue"),
        expect(200, body=HELLO, interim=(100,)),
        aserve=expect(200, body=HELLO, interim=()),
    ),
    # RFC 9110 10.1.1: in HTTP/1.0 it MUST be ignored, and no 1xx may be sent (15.2).
    row(
        "expect-continue-in-1.0",
        "9110 10.1.1",
        MUST,
        post(body=b"abc", expect="100-continue", minor=0),
        expect(*range(200, 600), interim=()),
        after=CLOSED,
        rfc_after=EITHER,
        aserve=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-1.0-without-content",
        "9110 15.2",
        MUST,
        hello(expect="100-continue", minor=0),
        expect(200, body=HELLO, interim=()),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    *(
        # RFC 9110 10.1.1: another expectation MAY be answered with 417.
        row(
            f"expect-{name}",
            "9110 10.1.1",
            MAY,
            hello(expect=value),
            expect(417) | HELLO_OK,
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(417),
        )
        for name, value in {
            "unknown": "teapot",
            "list-with-unknown": "100-continue, teapot",
            "with-parameter": "100-continue;a=b",
            "shorter": "100",
            "longer": "100-continued",
        }.items()
    ),
    row(
        "expect-unknown-in-1.0",
        "9110 10.1.1",
        OURS,
        hello(expect="teapot", minor=0),
        HELLO_OK,
        after=CLOSED,
    ),
]

ROWS: list[Row] = [*persistence, *pipelining, *upgrades, *expectations]
