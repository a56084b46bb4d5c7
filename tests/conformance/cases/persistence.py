"""Persistence, pipelining, upgrades and expectations (RFC 9112 9, RFC 9110 7.6.1, 7.8, 10.1.1)."""

from typing import Any

from tests.conformance.site import HELLO, LARGE, TEN
from tests.conformance.table import (
    ANSWER,
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
    get,
    head,
    post,
    reply,
    request,
    row,
    tag,
)

HELD = reply(200, body=HELLO)
TEN_OK = reply(200, body=TEN)
NEXT = get("/ten.txt")
MISSING = reply(404)


def hello(**given: Any) -> Message:
    return get("/hello.txt", **given)


def says_close(value: str) -> bool:
    return "close" in [one.strip().lower() for one in value.split(",")]


def says_keep_alive(value: str) -> bool:
    return "keep-alive" in [one.strip().lower() for one in value.split(",")]


persistence = [
    # RFC 9112 9.3: persistent in HTTP/1.1 unless told otherwise; a server SHOULD keep it.
    row("persistent", "9112 9.3", SHOULD, hello(), HELD, rfc_after=OPEN),
    row(
        "persistent-for-head",
        "9112 9.3",
        SHOULD,
        head("/hello.txt"),
        reply(200, body=b""),
        rfc_after=OPEN,
    ),
    row("persistent-after-404", "9112 9.3", SHOULD, get("/missing"), MISSING, rfc_after=OPEN),
    row(
        "persistent-after-304",
        "9112 9.3",
        SHOULD,
        hello(if_none_match="*"),
        reply(304),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-206",
        "9112 9.3",
        SHOULD,
        hello(range="bytes=0-0"),
        reply(206),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-301",
        "9112 9.3",
        SHOULD,
        get("/sub"),
        reply(301, 302, 307, 308),
        rfc_after=OPEN,
    ),
    row(
        "persistent-after-large",
        "9112 9.3",
        SHOULD,
        get("/large.bin"),
        reply(200, body=LARGE),
        rfc_after=OPEN,
    ),
    row("persistent-says-nothing", "9112 9.3", OURS, hello(), reply(200, connection=None)),
    row(
        "keep-alive-in-1.1",
        "9112 9.3",
        SHOULD,
        hello(connection="keep-alive"),
        HELD,
        rfc_after=OPEN,
    ),
    row(
        "connection-of-another-option",
        "9110 7.6.1",
        SHOULD,
        hello(connection="te"),
        HELD,
        rfc_after=OPEN,
    ),
    row(
        "connection-option-closed-is-not-close",
        "9110 7.6.1",
        OURS,
        hello(connection="closed"),
        HELD,
    ),
    row("connection-empty", "9110 5.6.1.2", OURS, hello(connection=""), HELD),
    # RFC 9112 9.6: MUST close after the response; SHOULD say so in it.
    *(
        row(
            f"close-{name}",
            "9112 9.6",
            MUST,
            hello(connection=value),
            HELD,
            after=CLOSED,
        )
        for name, value in {
            "asked": "close",
            "asked-in-capitals": "Close",
            "asked-in-list": "te, close",
            "asked-in-list-without-blanks": "te,close,x",
            "asked-with-keep-alive": "keep-alive, close",
            "asked-in-lines": ("te", "close"),
            "asked-among-empty-elements": ", close ,",
        }.items()
    ),
    *(
        row(
            f"close-says-close-{name}",
            "9112 9.6",
            SHOULD,
            message,
            reply(*statuses, connection=says_close),
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
        "close-after-400-says-close",
        "9112 9.6",
        SHOULD,
        hello(host=None),
        reply(400, connection=says_close),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "close-after-large",
        "9112 9.6",
        MUST,
        get("/large.bin", connection="close"),
        reply(200, body=LARGE),
        after=CLOSED,
    ),
    row(
        "close-after-post",
        "9112 9.6",
        MUST,
        post(body=b"abc", connection="close"),
        ANSWER,
        after=CLOSED,
        ours=reply(405),
    ),
    # RFC 9112 9.6: MUST NOT process any further requests on that connection.
    row("close-then-more", "9112 9.6", MUST, [hello(connection="close"), NEXT], HELD, after=CLOSED),
    row(
        "close-then-much-more",
        "9112 9.6",
        MUST,
        [hello(connection="close"), *[NEXT] * 50],
        HELD,
        after=CLOSED,
    ),
    row(
        "close-then-junk",
        "9112 9.6",
        MUST,
        [hello(connection="close"), b"\x00junk\r\n\r\n"],
        HELD,
        after=CLOSED,
    ),
    row(
        "close-in-second",
        "9112 9.6",
        MUST,
        [hello(), get("/ten.txt", connection="close"), hello()],
        HELD,
        TEN_OK,
        after=CLOSED,
    ),
    # RFC 9112 9.3: HTTP/1.0 closes unless keep-alive was asked for and the server grants it.
    row("close-by-1.0", "9112 9.3", MUST, hello(minor=0), HELD, after=CLOSED),
    row("close-by-1.0-then-more", "9112 9.3", MUST, [hello(minor=0), NEXT], HELD, after=CLOSED),
    row(
        "close-by-1.0-says-close",
        "9112 9.6",
        SHOULD,
        hello(minor=0),
        reply(200, connection=says_close) | reply(200, connection=None),
        after=CLOSED,
    ),
    row(
        "close-by-1.0-with-both",
        "9112 9.3",
        MUST,
        hello(minor=0, connection="keep-alive, close"),
        HELD,
        after=CLOSED,
    ),
    row("keep-alive-in-1.0", "9112 9.3", MAY, hello(minor=0, connection="keep-alive"), HELD),
    row(
        "keep-alive-in-1.0-in-capitals",
        "9112 9.3",
        MAY,
        hello(minor=0, connection="Keep-Alive"),
        HELD,
    ),
    # RFC 9112 C.2.2: if it is kept, an HTTP/1.0 client has to be told.
    row(
        "keep-alive-in-1.0-is-told",
        "9112 C.2.2",
        OURS,
        hello(minor=0, connection="keep-alive"),
        reply(200, connection=says_keep_alive),
    ),
    row(
        "keep-alive-in-1.0-then-more",
        "9112 9.3",
        MAY,
        [hello(minor=0, connection="keep-alive"), NEXT],
        HELD,
        TEN_OK.or_close(),
        ours=(HELD, TEN_OK),
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
        HELD,
        after=CLOSED,
    ),
    row(
        "proxy-connection-close-is-no-option",
        "9112 C.2.2",
        OURS,
        hello(proxy_connection="close"),
        HELD,
    ),
]

pipelining = [
    # RFC 9112 9.3.2: replies MUST be sent in the order of the requests.
    row(
        "pipeline-two",
        "9112 9.3.2",
        MUST,
        [hello(), NEXT],
        HELD,
        TEN_OK.or_close(),
        ours=(HELD, TEN_OK),
    ),
    row("pipeline-twenty", "9112 9.3.2", MUST, [hello(), NEXT] * 10, *[HELD, TEN_OK] * 10),
    row("pipeline-two-hundred", "9112 9.3.2", MUST, [hello(), NEXT] * 100, *[HELD, TEN_OK] * 100),
    row(
        "pipeline-large-first",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), NEXT],
        reply(200, body=LARGE),
        TEN_OK,
    ),
    row(
        "pipeline-large-thrice",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), NEXT] * 3,
        *[reply(200, body=LARGE), TEN_OK] * 3,
    ),
    row(
        "pipeline-with-error-inside",
        "9112 9.3.2",
        MUST,
        [hello(), get("/missing"), NEXT],
        HELD,
        MISSING,
        TEN_OK.or_close(),
        ours=(HELD, MISSING, TEN_OK),
    ),
    row(
        "pipeline-of-methods",
        "9112 9.3.2",
        MUST,
        [hello(), head("/ten.txt"), request("OPTIONS", "*"), NEXT],
        HELD,
        reply(200, body=b""),
        ANSWER,
        TEN_OK.or_close(),
        ours=(HELD, reply(200, body=b""), reply(200, 204), TEN_OK),
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
        reply(304),
        reply(206, body=b"H") | HELD,
        reply(416, 200).or_close(),
        reply(301, 302, 307, 308).or_close(),
        TEN_OK.or_close(),
        ours=(reply(304), reply(206, body=b"H"), reply(416), reply(301), TEN_OK),
    ),
    row(
        "pipeline-with-contents",
        "9112 9.3.2",
        MUST,
        [post(body=b"abc"), post(body=chunked(b"abc"), transfer_encoding="chunked"), NEXT],
        ANSWER,
        ANSWER.or_close(),
        TEN_OK.or_close(),
        ours=(reply(405), reply(405), TEN_OK),
    ),
    # A good request's reply is still owed when the next is bad, and comes first.
    row(
        "pipeline-good-then-bad",
        "9112 9.3.2",
        MUST,
        [hello(), b"bad\r\n\r\n"],
        HELD,
        reply(400).or_close(),
        after=CLOSED,
        ours=(HELD, reply(400)),
    ),
    row(
        "pipeline-good-then-bad-then-good",
        "9112 2.2",
        SHOULD,
        [hello(), b"bad\r\n\r\n", NEXT],
        HELD,
        reply(400).or_close(),
        after=CLOSED,
        ours=(HELD, reply(400)),
    ),
    row(
        "pipeline-large-then-bad",
        "9112 9.3.2",
        MUST,
        [get("/large.bin"), b"bad\r\n\r\n"],
        reply(200, body=LARGE),
        reply(400).or_close(),
        after=CLOSED,
        ours=(reply(200, body=LARGE), reply(400)),
    ),
    row(
        "pipeline-good-then-no-host",
        "9112 3.2",
        MUST,
        [hello(), get("/ten.txt", host=None)],
        HELD,
        reply(400).or_close(),
        after=CLOSED,
        rfc_after=EITHER,
        ours=(HELD, reply(400)),
    ),
    row(
        "pipeline-good-then-version-2",
        "9110 15.6.6",
        SHOULD,
        [hello(), b"GET / HTTP/2.0\r\nHost: test\r\n\r\n"],
        HELD,
        reply(505, 400).or_close(),
        after=CLOSED,
        ours=(HELD, reply(505)),
    ),
    row(
        "pipeline-good-then-cut",
        "9112 8",
        MUST,
        [hello(), b"GET /ten.txt HTTP/1.1\r\nHo"],
        HELD,
        reply(400, 408).or_close(),
        ended=True,
        after=CLOSED,
        ours=(HELD, reply(400)),
    ),
    # A head that is cut anywhere is the same head.
    row("slowly", "9112 2.2", MUST, hello(), HELD, slowly=True),
    row(
        "slowly-pipelined",
        "9112 2.2",
        MUST,
        [hello(), head("/ten.txt"), NEXT],
        HELD,
        reply(200, body=b""),
        TEN_OK,
        slowly=True,
    ),
    row(
        "slowly-in-chunks",
        "9112 7.1",
        MUST,
        [
            post(body=chunked(b"abc", b"defg", trailer=b"X-A: b\r\n"), transfer_encoding="chunked"),
            NEXT,
        ],
        ANSWER,
        TEN_OK.or_close(),
        slowly=True,
        ours=(reply(405), TEN_OK),
    ),
    row(
        "slowly-bad",
        "9112 2.2",
        SHOULD,
        b"GET /hello.txt HTTP/1.1\r\nHost: test\r\nbad\r\n\r\n",
        reply(400),
        after=CLOSED,
        slowly=True,
    ),
]

upgrades = [
    # RFC 9110 7.8: a server MAY ignore Upgrade; a proposal of HTTP/2 is answered in HTTP/1.1.
    *(
        row(
            f"upgrade-{name}",
            "9110 7.8",
            OURS if protocol == "h2c" else MAY,  # who speaks HTTP/2 takes it up
            [hello(connection=connection, upgrade=protocol, **others), NEXT],
            reply(200, body=HELLO, interim=()) | reply(426),
            TEN_OK.or_close(),
            ours=(reply(200, body=HELLO, interim=()), TEN_OK),
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
        ANSWER,
        TEN_OK.or_close(),
        ours=(reply(405), TEN_OK),
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
        ANSWER,
        TEN_OK.or_close(),
        ours=(reply(405), TEN_OK),
    ),
    # RFC 9110 7.8: MUST ignore an Upgrade of an HTTP/1.0 request.
    row(
        "upgrade-in-1.0",
        "9110 7.8",
        MUST,
        hello(minor=0, connection="Upgrade", upgrade="websocket"),
        reply(200, body=HELLO, interim=()),
        after=CLOSED,
        rfc_after=EITHER,
    ),
]

CONTINUE = reply(*range(200, 600), interim=(100,))
FINAL_AT_ONCE = reply(405, interim=())
expectations = [
    # RFC 9110 10.1.1: MUST send 100 or a final status, and not wait for the content.
    row(
        "expect-continue",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", content_length="3"),
        CONTINUE,
        held=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-capitals",
        "9110 10.1.1",
        MUST,
        post(expect="100-Continue", content_length="3"),
        CONTINUE,
        held=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-chunks",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", transfer_encoding="chunked"),
        CONTINUE,
        held=chunked(b"abc"),
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-too-large",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", content_length=str(2**40)),
        CONTINUE.or_wait(),
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(413, 405, interim=()),
    ),
    row(
        "expect-continue-with-get-content",
        "9110 10.1.1",
        MUST,
        hello(expect="100-continue", content_length="3"),
        CONTINUE,
        held=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        ours=reply(200, body=HELLO, interim=()),
    ),
    row(
        # The content may be sent all the same: it must not be the next request.
        "expect-continue-and-content-at-once",
        "9110 10.1.1",
        MUST,
        post(expect="100-continue", body=NEXT.octets),
        CONTINUE,
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-for-missing-file",
        "9110 10.1.1",
        MUST,
        request("PUT", "/missing", expect="100-continue", content_length="3"),
        CONTINUE,
        held=b"abc",
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    # RFC 9110 10.1.1: a server that reads no content MAY omit 100.
    row(
        "expect-continue-without-content",
        "9110 10.1.1",
        MAY,
        hello(expect="100-continue"),
        reply(200, body=HELLO, interim=(100,)),
        ours=reply(200, body=HELLO, interim=()),
    ),
    # RFC 9110 10.1.1: in HTTP/1.0 it MUST be ignored, and 15.2: no 1xx is sent there.
    row(
        "expect-continue-in-1.0",
        "9110 10.1.1",
        MUST,
        post(body=b"abc", expect="100-continue", minor=0),
        reply(*range(200, 600), interim=()),
        after=CLOSED,
        rfc_after=EITHER,
        ours=FINAL_AT_ONCE,
    ),
    row(
        "expect-continue-in-1.0-without-content",
        "9110 15.2",
        MUST,
        hello(expect="100-continue", minor=0),
        reply(200, body=HELLO, interim=()),
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
            reply(417) | HELD,
            after=CLOSED,
            rfc_after=EITHER,
            ours=reply(417),
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
        HELD,
        after=CLOSED,
    ),
]

ROWS: list[Row] = [*persistence, *pipelining, *upgrades, *expectations]
