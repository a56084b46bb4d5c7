"""Request line, header lines and bodies on the wire (RFC 9112 sections 2, 3, 5, 6 and 7)."""

from collections.abc import Sequence

from tests.conformance.site import HELLO, TEN
from tests.conformance.table import (
    ANY_RESPONSE,
    CLOSED,
    EITHER,
    MAY,
    MUST,
    OURS,
    SHOULD,
    Expected,
    Level,
    Message,
    Row,
    chunked,
    expect,
    get,
    post,
    raw,
    request,
    row,
)

BAD = expect(400)
HELLO_OK = expect(200, body=HELLO)
NEXT = get("/ten.txt")
TEN_OR_CLOSE = expect(200, body=TEN).or_close()
NOT_ALLOWED = expect(405)
ANY_ERROR = expect(*range(400, 600))
TEN_OK = expect(200, body=TEN)


def line(data: bytes) -> bytes:
    """Send a raw request line before valid headers."""
    return data + b"\r\nHost: test\r\n\r\n"


def headers(data: bytes) -> bytes:
    """Send raw header lines after a valid request line."""
    return b"GET /hello.txt HTTP/1.1\r\nHost: test\r\n" + data + b"\r\n"


def rejected(
    name: str,
    clause: str,
    level: Level,
    data: bytes,
    *others: Expected,
    statuses: Sequence[int] = (400,),
) -> Row:
    """Expect an error and a close: the bytes that follow must not be parsed as a request.

    others: what the clause also allows; then the next request may be answered as well.
    """
    expected = expect(*statuses)
    for other in others:
        expected |= other
    responses = (expected, TEN_OR_CLOSE) if others else (expected,)
    after = EITHER if others else CLOSED
    return row(
        name, clause, level, [data, NEXT], *responses, after=CLOSED, rfc_after=after, aserve=BAD
    )


def reads_next(name: str, clause: str, level: Level, first: Message | bytes) -> Row:
    """Expect any response to the first request, and the next one to be parsed right after it."""
    return row(
        name, clause, level, [first, NEXT], ANY_RESPONSE, TEN_OR_CLOSE, aserve=(NOT_ALLOWED, TEN_OK)
    )


# RFC 9112 2.2 and 3: the request line. An invalid message SHOULD get 400 and a close.
_REQUEST_LINES = {
    "no-version": b"GET /hello.txt",
    "no-target": b"GET HTTP/1.1",
    "no-method": b"/hello.txt HTTP/1.1",
    "one-word": b"GET",
    "leading-space": b" GET /hello.txt HTTP/1.1",
    "two-spaces-after-method": b"GET  /hello.txt HTTP/1.1",
    "two-spaces-after-target": b"GET /hello.txt  HTTP/1.1",
    "space-after-version": b"GET /hello.txt HTTP/1.1 ",
    "tab-after-method": b"GET\t/hello.txt HTTP/1.1",
    "tab-after-target": b"GET /hello.txt\tHTTP/1.1",
    "form-feed-after-target": b"GET /hello.txt\x0cHTTP/1.1",
}
# Section 3: recipients MAY parse on whitespace-delimited word boundaries instead.
_LENIENT = {name for name in _REQUEST_LINES if "space" in name or "tab" in name or "feed" in name}

request_lines = [
    rejected(
        f"request-line-{name}",
        "9112 3",
        MAY if name in _LENIENT else SHOULD,
        line(data),
        *([HELLO_OK] if name in _LENIENT else []),
    )
    for name, data in _REQUEST_LINES.items()
]

# RFC 9112 2.3: HTTP-name is case-sensitive, and a version is one digit, a dot and one digit.
_VERSIONS = {
    "lower-case": b"http/1.1",
    "mixed-case": b"Http/1.1",
    "two-digit-minor": b"HTTP/1.10",
    "two-digit-major": b"HTTP/11.1",
    "leading-zero": b"HTTP/01.1",
    "no-minor": b"HTTP/1",
    "empty-minor": b"HTTP/1.",
    "empty": b"HTTP/",
    "comma": b"HTTP/1,1",
    "letter": b"HTTP/1.x",
    "negative": b"HTTP/-1.1",
    "other-protocol": b"RTSP/1.0",
    "icy": b"ICE/1.0",
    "https": b"HTTPS/1.1",
    "no-slash": b"HTTP 1.1",
    "trailing-dot": b"HTTP/1.1.",
}
versions = [
    rejected(
        f"version-{name}",
        "9112 2.3",
        SHOULD,
        line(b"GET /hello.txt " + data),
        statuses=(400, 505),
    )
    for name, data in _VERSIONS.items()
]

# RFC 9110 9.1: method = token.
_METHOD_CHARACTERS = {
    "parenthesis": b"G(T",
    "slash": b"G/T",
    "at": b"G@T",
    "quote": b'"GET"',
    "colon": b"GET:",
    "braces": b"{GET}",
    "nul": b"GE\x00T",
    "control": b"GE\x07T",
    "eight-bit": b"GE\xe9T",
    "comma": b"GET,",
    "equals": b"GET=",
    "brackets": b"[GET]",
}
methods = [
    rejected(
        f"method-with-{name}",
        "9110 9.1",
        SHOULD,
        line(data + b" /hello.txt HTTP/1.1"),
        statuses=(400, 501),
    )
    for name, data in _METHOD_CHARACTERS.items()
]

# RFC 9112 2.2: a recipient MAY accept a single LF as the end of a line.
_BARE_LF = {
    "after-request-line": b"GET /hello.txt HTTP/1.1\nHost: test\r\n\r\n",
    "after-host": b"GET /hello.txt HTTP/1.1\r\nHost: test\n\r\n",
    "after-header": b"GET /hello.txt HTTP/1.1\r\nHost: test\r\nX-A: b\n\r\n",
    "for-empty-line": b"GET /hello.txt HTTP/1.1\r\nHost: test\r\n\n",
    "everywhere": b"GET /hello.txt HTTP/1.1\nHost: test\n\n",
    "before-request-line": b"\nGET /hello.txt HTTP/1.1\r\nHost: test\r\n\r\n",
}
line_ends = [
    *(
        rejected(f"bare-lf-{name}", "9112 2.2", MAY, data, HELLO_OK)
        for name, data in _BARE_LF.items()
    ),
    row(
        "empty-line-before-request",
        "9112 2.2",
        SHOULD,
        [b"\r\n" + get("/hello.txt").data],
        HELLO_OK,
    ),
    row(
        "empty-lines-before-request",
        "9112 2.2",
        MAY,
        b"\r\n\r\n\r\n" + get("/hello.txt").data,
        HELLO_OK | BAD,
        aserve=HELLO_OK,
    ),
    row(
        "empty-line-between-requests",
        "9112 2.2",
        SHOULD,
        [get("/hello.txt"), b"\r\n" + NEXT.data],
        HELLO_OK,
        TEN_OK,
    ),
    row(
        # RFC 9112 2.2: old clients sent one after a POST, beyond its Content-Length.
        "empty-line-after-content",
        "9112 2.2",
        SHOULD,
        [post(body=b"abc"), b"\r\n" + NEXT.data],
        ANY_RESPONSE,
        TEN_OR_CLOSE,
        aserve=(NOT_ALLOWED, TEN_OK),
    ),
    # A bare CR MUST be invalid or be replaced by SP.
    rejected("bare-cr-in-value", "9112 2.2", MUST, headers(b"X-A: b\rc\r\n"), HELLO_OK),
    rejected("bare-cr-before-value", "9112 2.2", MUST, headers(b"X-A:\rb\r\n"), HELLO_OK),
    rejected("bare-cr-at-end-of-value", "9112 2.2", MUST, headers(b"X-A: b\r\r\n"), HELLO_OK),
    rejected("bare-cr-in-name", "9112 2.2", MUST, headers(b"X\rA: b\r\n")),
    rejected(
        "bare-cr-for-line-end", "9112 2.2", MUST, headers(b"X-A: b\rRange: bytes=0-0\r\n"), HELLO_OK
    ),
    rejected("bare-cr-in-target", "9112 2.2", MUST, line(b"GET /hel\rlo.txt HTTP/1.1")),
    rejected("bare-cr-in-version", "9112 2.2", MUST, line(b"GET /hello.txt HTTP/1.1\r"), HELLO_OK),
    rejected(
        "bare-cr-for-all-line-ends",
        "9112 2.2",
        MUST,
        b"GET /hello.txt HTTP/1.1\rHost: test\r\r\r\n\r\n",
    ),
]

# RFC 9112 2.2: whitespace after the request line: reject, or consume without processing.
# RFC 9112 5.2: obs-fold MUST be rejected with 400 or replaced by spaces.
# A folded value is equal to one with a space: only a Range of one byte would be wrong.
folds = [
    rejected(
        "space-before-first-header",
        "9112 2.2",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\n Range: bytes=0-0\r\nHost: test\r\n\r\n",
        HELLO_OK,
    ),
    rejected(
        "tab-before-first-header",
        "9112 2.2",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\n\tRange: bytes=0-0\r\nHost: test\r\n\r\n",
        HELLO_OK,
    ),
    rejected("obs-fold-space", "9112 5.2", MUST, headers(b"X-A: b\r\n c\r\n"), HELLO_OK),
    rejected("obs-fold-tab", "9112 5.2", MUST, headers(b"X-A: b\r\n\tc\r\n"), HELLO_OK),
    rejected("obs-fold-empty", "9112 5.2", MUST, headers(b"X-A: b\r\n \r\n"), HELLO_OK),
    rejected("obs-fold-before-value", "9112 5.2", MUST, headers(b"X-A:\r\n b\r\n"), HELLO_OK),
    rejected(
        "obs-fold-hiding-a-header",
        "9112 5.2",
        MUST,
        headers(b"X-A: b\r\n Range: bytes=0-0\r\n"),
        HELLO_OK,
    ),
    rejected(
        "obs-fold-in-host",
        "9112 5.2",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\nHost:\r\n test\r\n\r\n",
        HELLO_OK,
    ),
    # RFC 9112 5.1: whitespace before the colon MUST be rejected with 400.
    rejected("space-before-colon", "9112 5.1", MUST, headers(b"X-A : b\r\n")),
    rejected("tab-before-colon", "9112 5.1", MUST, headers(b"X-A\t: b\r\n")),
    rejected(
        "space-before-colon-of-host",
        "9112 5.1",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\nHost : test\r\n\r\n",
    ),
    rejected(
        "space-before-colon-of-content-length",
        "9112 5.1",
        MUST,
        b"POST /hello.txt HTTP/1.1\r\nHost: test\r\nContent-Length : 3\r\n\r\nabc",
    ),
    rejected(
        "space-before-colon-of-transfer-encoding",
        "9112 5.1",
        MUST,
        b"POST /hello.txt HTTP/1.1\r\nHost: test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
]

# RFC 9110 5.1: header-name = token. RFC 9112 2.2: an invalid message SHOULD get 400 and a close.
_NAME_CHARACTERS = {
    **{f"delimiter-{ord(one):02x}": one.encode() for one in '"(),/;<=>?@[\\]{}'},
    "space": b" ",
    "nul": b"\x00",
    "control": b"\x01",
    "vertical-tab": b"\x0b",
    "delete": b"\x7f",
    "eight-bit": b"\xe9",
}
names = [
    *(
        rejected(f"name-with-{name}", "9110 5.1", SHOULD, headers(b"X%bA: b\r\n" % byte))
        for name, byte in _NAME_CHARACTERS.items()
    ),
    rejected("name-empty", "9110 5.1", SHOULD, headers(b": b\r\n")),
    rejected("header-without-colon", "9112 5", SHOULD, headers(b"X-A\r\n")),
    row(
        "name-of-every-token-character",
        "9110 5.6.2",
        MUST,
        headers(
            b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz: x\r\n"
        ),
        HELLO_OK,
    ),
    row(
        "names-in-any-case",
        "9110 5.1",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\nhOsT: test\r\nrAnGe: bytes=0-0\r\n\r\n",
        expect(206, body=b"H") | HELLO_OK,
        aserve=expect(206, body=b"H"),
    ),
    row("header-unknown", "9110 5.1", MUST, get("/hello.txt", x_unknown="anything"), HELLO_OK),
]

# RFC 9110 5.5: NUL MUST be rejected or replaced by SP. Other controls are invalid as well, and a
# recipient MAY keep them. HTAB and obs-text are part of a value.
_CONTROLS = [byte for byte in (*range(0x20), 0x7F) if byte not in b"\t\r\n"]
values = [
    *(
        rejected(
            f"value-with-control-{byte:02x}",
            "9110 5.5",
            MAY if byte else MUST,
            headers(b"X-A: b%cc\r\n" % byte),
            HELLO_OK,
        )
        for byte in _CONTROLS
    ),
    row("value-with-tab", "9110 5.5", MUST, headers(b"X-A: b\tc\r\n"), HELLO_OK),
    row(
        "value-with-obs-text",
        "9110 5.5",
        SHOULD,
        headers(b"X-A: gr\xfc\xdfe \x80\xff\r\n"),
        HELLO_OK,
    ),
    row("value-with-utf-8", "9110 5.5", SHOULD, headers("X-A: grüße κόσμε\r\n".encode()), HELLO_OK),
    row("value-empty", "9112 5", MUST, headers(b"X-A:\r\n"), HELLO_OK),
    row("value-of-whitespace", "9112 5.1", MUST, headers(b"X-A: \t \r\n"), HELLO_OK),
    row(
        "value-without-space",
        "9112 5.1",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\nHost:test\r\n\r\n",
        HELLO_OK,
    ),
    row(
        "value-with-whitespace-around",
        "9112 5.1",
        MUST,
        b"GET /hello.txt HTTP/1.1\r\nHost:\t test \t\r\n\r\n",
        HELLO_OK,
    ),
    row(
        "value-deciding-with-whitespace-around",
        "9112 5.1",
        MUST,
        headers(b"Range:\t bytes=0-0 \t \r\n"),
        expect(206, body=b"H") | HELLO_OK,
        aserve=expect(206, body=b"H"),
    ),
    row("value-with-colons", "9112 5", MUST, headers(b"X-A: b: c: d\r\n"), HELLO_OK),
]

# RFC 9112 6.2, 6.3 and RFC 9110 8.6: Content-Length.
lengths = [
    reads_next("length", "9112 6.2", MUST, post(body=b"abc")),
    reads_next("length-zero", "9112 6.2", MUST, post(content_length="0")),
    reads_next(
        "length-with-leading-zeros", "9110 8.6", MUST, post(body=b"abc", content_length="0003")
    ),
    *(
        # RFC 9110 8.6: 1*DIGIT; int() alone fails at 4,301 digits.
        reads_next(
            f"length-with-4301-zeros-{what}", "9110 8.6", OURS, post(body=body, content_length=of)
        )
        for what, body, of in (("of-0", b"", "0" * 4_301), ("of-3", b"abc", "0" * 4_300 + "3"))
    ),
    reads_next(
        "length-with-whitespace-around", "9112 5.1", MUST, post(body=b"abc", content_length=" 3 \t")
    ),
    reads_next("length-of-64-kib", "9112 6.2", MUST, post(body=b"x" * 65_536)),
    reads_next(
        "length-of-content-like-a-request", "9112 6.2", MUST, post(body=get("/hello.txt").data)
    ),
    reads_next("length-none", "9112 6.3", MUST, post()),
    row(
        "length-with-get",
        "9110 9.3.1",
        MAY,
        [get("/hello.txt", body=b"abc"), NEXT],
        HELLO_OK | expect(400, 413, 403, 405),
        TEN_OR_CLOSE,
        aserve=(HELLO_OK, TEN_OK),
    ),
    row(
        "length-with-get-like-a-request",
        "9112 6.3",
        MUST,
        [get("/hello.txt", body=get("/smuggled").data), NEXT],
        HELLO_OK | expect(400, 413, 403, 405),
        TEN_OR_CLOSE,
        aserve=(HELLO_OK, TEN_OK),
    ),
    row(
        "length-with-head",
        "9112 6.3",
        MUST,
        [request("HEAD", "/hello.txt", body=b"abc"), NEXT],
        expect(200, body=b"") | expect(400, 413, 403, 405),
        TEN_OR_CLOSE,
        aserve=(expect(200, body=b""), TEN_OK),
    ),
    row(
        "length-with-missing-file",
        "9112 6.3",
        MUST,
        [get("/missing", body=get("/smuggled").data), NEXT],
        ANY_ERROR,
        TEN_OR_CLOSE,
        aserve=(expect(404), TEN_OK),
    ),
]
_BAD_LENGTHS = {
    "negative": "-1",
    "signed": "+3",
    "hexadecimal": "0x3",
    "letters": "abc",
    "empty": "",
    "fraction": "3.0",
    "exponent": "3e0",
    "two-numbers": "3 3",
    "trailing-letter": "3a",
    "semicolon": "3;",
    "quoted": '"3"',
    "underscore": "1_0",
    "list-of-two-values": "3, 4",
    "superscript": "\xb3",
}
bad_lengths = [
    *(
        # RFC 9112 6.3 item 5: MUST respond with 400 and then close the connection.
        rejected(
            f"length-{name}",
            "9112 6.3",
            MUST,
            f"POST /hello.txt HTTP/1.1\r\nHost: test\r\nContent-Length: {value}\r\n\r\nabc".encode(
                "latin-1"
            ),
        )
        for name, value in _BAD_LENGTHS.items()
    ),
    rejected(
        "length-in-utf-8-digits",
        "9112 6.3",
        MUST,
        "POST /hello.txt HTTP/1.1\r\nHost: test\r\nContent-Length: ٣\r\n\r\nabc".encode(),
    ),
    rejected(
        "length-twice-differing",
        "9112 6.3",
        MUST,
        post(body=b"abc", content_length=("3", "4")).data,
    ),
    rejected(
        "length-with-get-malformed",
        "9112 6.3",
        MUST,
        get("/hello.txt", content_length="x").data,
    ),
    # The same value repeated MAY be treated as one.
    *(
        row(
            f"length-{name}",
            "9112 6.3",
            MUST,
            [post(body=b"abc", content_length=value), NEXT],
            ANY_RESPONSE,
            TEN_OR_CLOSE,
            aserve=BAD,
            after=CLOSED,
            rfc_after=EITHER,
        )
        for name, value in {"twice-same": ("3", "3"), "list-same": "3, 3"}.items()
    ),
    # RFC 9110 8.6: large numbers must be expected; 2**64 + 3 must not become 3.
    *(
        row(
            f"length-{name}",
            "9110 8.6",
            MUST,
            [post(body=b"abc", content_length=value), NEXT],
            ANY_RESPONSE.or_wait(),
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(400, 413),
        )
        for name, value in {
            "beyond-64-bits": str(2**64 + 3),
            "beyond-32-bits": str(2**32 + 3),
            "beyond-63-bits": str(2**63 + 3),
            "of-100-digits": "9" * 100,
        }.items()
    ),
]

# RFC 9112 6.1: Transfer-Encoding.
CHUNKS = chunked(b"abc", b"defghij")


def coded(value: str | Sequence[str], body: bytes = CHUNKS, **headers: str) -> Message:
    return post(body=body, transfer_encoding=value, **headers)


transfer_codings = [
    reads_next("chunked", "9112 7.1", MUST, coded("chunked")),
    reads_next("chunked-in-capitals", "9112 7", MUST, coded("CHUNKED")),
    reads_next("chunked-with-whitespace-around", "9112 5.1", MUST, coded(" chunked\t")),
    reads_next("chunked-empty", "9112 7.1", MUST, coded("chunked", chunked())),
    reads_next(
        "chunked-of-content-like-a-request",
        "9112 7.1",
        MUST,
        coded("chunked", chunked(NEXT.data)),
    ),
    row(
        "chunked-with-get",
        "9112 6.3",
        MUST,
        [
            get("/hello.txt", body=chunked(get("/smuggled").data), transfer_encoding="chunked"),
            NEXT,
        ],
        HELLO_OK | expect(400, 411, 413, 403, 405),
        TEN_OR_CLOSE,
        aserve=(HELLO_OK, TEN_OK),
    ),
    # RFC 9112 6.3 item 4: if chunked is not last, MUST respond with 400 and close.
    *(
        rejected(f"transfer-coding-{name}", "9112 6.3", MUST, coded(value).data, statuses=allowed)
        for name, value, allowed in (
            # RFC 9112 6.1: an unknown coding SHOULD get 501, so that is valid as well.
            ("gzip-alone", "gzip", (400, 501)),
            ("gzip-after-chunked", "chunked, gzip", (400, 501)),
            ("identity-after-chunked", "chunked, identity", (400, 501)),
            ("lines-gzip-after-chunked", ("chunked", "gzip"), (400, 501)),
            ("identity", "identity", (400, 501)),
            ("unknown", "foo", (400, 501)),
            ("empty", "", (400, 411, 501)),
            ("xchunked", "xchunked", (400, 501)),
            ("quoted", '"chunked"', (400, 501)),
            ("joined-by-space", "gzip chunked", (400, 501)),
            ("joined-by-semicolon", "gzip; chunked", (400, 501)),
            ("chunked-with-vertical-tab", "chunked\x0b", (400, 501)),
            ("chunked-with-letter", "chunkedx", (400, 501)),
        )
    ),
    # RFC 9112 6.1: a sender MUST NOT apply chunked twice, so this is invalid.
    rejected(
        "transfer-coding-chunked-twice",
        "9112 6.1",
        SHOULD,
        coded("chunked, chunked").data,
        statuses=(400, 501),
    ),
    rejected(
        "transfer-coding-chunked-twice-in-lines",
        "9112 6.1",
        SHOULD,
        coded(("chunked", "chunked")).data,
        statuses=(400, 501),
    ),
    # RFC 9112 6.1: an unknown coding SHOULD get 501.
    *(
        row(
            f"transfer-coding-{name}",
            "9112 6.1",
            SHOULD,
            [coded(value), NEXT],
            expect(501, 400),
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(501),
        )
        for name, value in {
            "gzip-then-chunked": "gzip, chunked",
            "lines-gzip-then-chunked": ("gzip", "chunked"),
            "unknown-then-chunked": "foo, chunked",
            "identity-then-chunked": "identity, chunked",
        }.items()
    ),
    # RFC 9112 7.1: chunked has no parameters; their presence SHOULD be treated as an error.
    row(
        "transfer-coding-chunked-with-parameter",
        "9112 7.1",
        SHOULD,
        [coded("chunked;a=b"), NEXT],
        expect(400, 501),
        after=CLOSED,
    ),
    # RFC 9110 5.6.1.2 asks to ignore empty list elements; rejecting them is safer.
    *(
        row(
            f"transfer-coding-{name}",
            "9110 5.6.1.2",
            MAY,
            [coded(value), NEXT],
            ANY_RESPONSE,
            TEN_OR_CLOSE,
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(400, 501),
        )
        for name, value in {
            "empty-element-first": ", chunked",
            "empty-element-last": "chunked,",
        }.items()
    ),
    # RFC 9112 6.1: with both, the connection MUST be closed after the response.
    *(
        row(
            f"both-lengths-{name}",
            "9112 6.1",
            MUST,
            [message, NEXT],
            ANY_RESPONSE,
            after=CLOSED,
            aserve=BAD,
        )
        for name, message in {
            "of-chunks": coded("chunked", content_length=str(len(CHUNKS))),
            "shorter": coded("chunked", content_length="3"),
            "zero": coded("chunked", content_length="0"),
            "longer": coded("chunked", chunked(), content_length="200"),
            "length-first": raw(
                b"POST /hello.txt HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            "with-get": get(
                "/hello.txt", body=CHUNKS, transfer_encoding="chunked", content_length="3"
            ),
        }.items()
    ),
    # RFC 9112 6.1: in HTTP/1.0 the framing is faulty: MUST close after processing.
    row(
        "transfer-coding-in-http-1.0",
        "9112 6.1",
        MUST,
        [post(body=CHUNKS, transfer_encoding="chunked", connection="keep-alive", minor=0), NEXT],
        ANY_RESPONSE,
        after=CLOSED,
        aserve=BAD,
    ),
    reads_next(
        "transfer-encoding-misspelt",
        "9110 5.1",
        MUST,
        post(body=b"abc", transfer_encodin="chunked"),
    ),
]

# RFC 9112 7.1: the chunked coding itself.
_GOOD_CHUNKS = {
    "upper-case-size": b"A\r\n0123456789\r\n0\r\n\r\n",
    "lower-case-size": b"a\r\n0123456789\r\n0\r\n\r\n",
    "leading-zeros": b"0003\r\nabc\r\n0\r\n\r\n",
    "zeros-for-last": b"3\r\nabc\r\n0000\r\n\r\n",
    "extension": b"3;a=b\r\nabc\r\n0\r\n\r\n",
    "extension-without-value": b"3;a\r\nabc\r\n0\r\n\r\n",
    "extension-quoted": b'3;a="b c;d\\"e"\r\nabc\r\n0\r\n\r\n',
    "extensions": b"3;a=b;c=d;e\r\nabc\r\n0;f=g\r\n\r\n",
    # RFC 9112 7.1.1: BWS around ; and = must be parsed and removed.
    "extension-with-whitespace": b"3 ; a = b\r\nabc\r\n0\r\n\r\n",
    "trailer": b"3\r\nabc\r\n0\r\nX-Trailer: x\r\n\r\n",
    "trailers": b"3\r\nabc\r\n0\r\nX-A: x\r\nX-B: y\r\n\r\n",
    "data-with-line-ends": b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "many-of-one-byte": b"1\r\nx\r\n" * 500 + b"0\r\n\r\n",
}
good_chunks = [
    reads_next(f"chunk-{name}", "9112 7.1", MUST, coded("chunked", data))
    for name, data in _GOOD_CHUNKS.items()
]
_BAD_CHUNKS = {
    "size-empty": b"\r\nabc\r\n0\r\n\r\n",
    "size-not-hexadecimal": b"g\r\nabc\r\n0\r\n\r\n",
    "size-negative": b"-3\r\nabc\r\n0\r\n\r\n",
    "size-signed": b"+3\r\nabc\r\n0\r\n\r\n",
    "size-prefixed": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size-after-space": b" 3\r\nabc\r\n0\r\n\r\n",
    "size-with-underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "data-too-long": b"3\r\nabcd\r\n0\r\n\r\n",
    "data-without-line-end": b"3\r\nabc0\r\n\r\n",
    "line-ends-of-lf": b"3\nabc\n0\n\n",
    "size-line-of-lf": b"3\nabc\r\n0\r\n\r\n",
    "data-end-of-lf": b"3\r\nabc\n0\r\n\r\n",
    "bare-cr-after-size": b"3\rabc\r\n0\r\n\r\n",
    "extension-with-lf": b"3;a\nabc\r\n0\r\n\r\n",
    "extension-with-cr": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "extension-with-nul": b"3;a=\x00\r\nabc\r\n0\r\n\r\n",
    "junk-after-size": b"3 abc\r\nabc\r\n0\r\n\r\n",
    "comma-after-size": b"3,a\r\nabc\r\n0\r\n\r\n",
    "extension-without-name": b"3;\r\nabc\r\n0\r\n\r\n",
    "extension-only-value": b"3;=x\r\nabc\r\n0\r\n\r\n",
    "extension-quote-open": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "trailer-without-colon": b"3\r\nabc\r\n0\r\nX-Trailer\r\n\r\n",
    "trailer-with-space-before-colon": b"3\r\nabc\r\n0\r\nX-Trailer : x\r\n\r\n",
    "trailer-folded": b"3\r\nabc\r\n0\r\nX-Trailer: x\r\n y\r\n\r\n",
    "trailer-with-nul": b"3\r\nabc\r\n0\r\nX-Trailer: \x00\r\n\r\n",
    "trailer-end-of-lf": b"3\r\nabc\r\n0\r\nX-Trailer: x\n\r\n",
}
bad_chunks = [
    *(
        # The response may be one that needs no body, but then the connection must close.
        row(
            f"chunk-{name}",
            "9112 7.1",
            SHOULD,
            [coded("chunked", data), NEXT],
            ANY_RESPONSE,
            after=CLOSED,
            aserve=BAD,
        )
        for name, data in _BAD_CHUNKS.items()
    ),
    *(
        # RFC 9112 7.1: MUST expect large hexadecimal numbers: 2**64 + 3 is not 3.
        row(
            f"chunk-size-{name}",
            "9112 7.1",
            MUST,
            [coded("chunked", size + b"\r\nabc\r\n0\r\n\r\n"), NEXT],
            ANY_RESPONSE.or_wait(),
            after=CLOSED,
            rfc_after=EITHER,
            aserve=expect(400, 413),
        )
        for name, size in {
            "beyond-64-bits": b"10000000000000003",
            "beyond-32-bits": b"100000003",
            "of-64-bits": b"ffffffffffffffff",
            "of-63-bits": b"7fffffffffffffff",
            "of-100-digits": b"f" * 100,
        }.items()
    ),
    # RFC 9112 7.1: leading zeros are valid; int() alone fails at 4,301 digits.
    reads_next(
        "chunk-size-with-4301-zeros",
        "9112 7.1",
        OURS,
        coded("chunked", b"0" * 4_301 + b"3\r\nabc\r\n" + b"0" * 4_301 + b"\r\n\r\n"),
    ),
    *(
        # RFC 9110 6.5.1: a trailer MUST NOT be merged into the header section.
        row(
            f"trailer-no-{name}",
            "9110 6.5.1",
            MUST,
            [
                get(
                    "/hello.txt",
                    body=chunked(b"abc", trailer=trailer),
                    transfer_encoding="chunked",
                ),
                NEXT,
            ],
            HELLO_OK | expect(400, 411, 413, 403, 405),
            TEN_OR_CLOSE,
            aserve=(HELLO_OK, TEN_OK),
        )
        for name, trailer in {
            "range": b"Range: bytes=0-0\r\n",
            "condition": b"If-None-Match: *\r\n",
            "close": b"Connection: close\r\n",
            "second-host": b"Host: other\r\n",
            "expectation": b"Expect: something\r\n",
        }.items()
    ),
]

# RFC 9112 8 and 6.3 item 6: an incomplete message is never processed.
_INCOMPLETE = {
    "request-line": b"GET /hello.txt HT",
    "request-line-with-its-end": b"GET /hello.txt HTTP/1.1\r\n",
    "headers": b"GET /hello.txt HTTP/1.1\r\nHost: test\r\n",
    "empty-line": b"GET /hello.txt HTTP/1.1\r\nHost: test\r\n\r",
    "content": post(content_length="10").data + b"abc",
    "get-content": get("/hello.txt", content_length="10").data + b"abc",
    "chunk": coded("chunked", b"a\r\nabc").data,
    "last-chunk": coded("chunked", b"3\r\nabc\r\n0\r\n").data,
    "chunk-size": coded("chunked", b"3").data,
}
# If the body is missing, a final response that does not need it is as valid as an error.
_HEADS = {"request-line", "request-line-with-its-end", "headers", "empty-line"}
incomplete = [
    row(
        f"incomplete-{name}",
        "9112 8",
        MUST,
        data,
        (ANY_ERROR if name in _HEADS else ANY_RESPONSE).or_close(),
        after=CLOSED,
        half_closes=True,
        aserve=BAD,
    )
    for name, data in _INCOMPLETE.items()
]
ends = [
    row("nothing-at-all", "9112 9.8", MAY, [], after=CLOSED, half_closes=True),
    row(
        "nothing-but-an-empty-line",
        "9112 2.2",
        MAY,
        [b"\r\n"],
        after=CLOSED,
        half_closes=True,
        aserve=(),
    ),
    row(
        "request-then-half-close",
        "9112 9.6",
        OURS,
        get("/hello.txt"),
        HELLO_OK,
        after=CLOSED,
        half_closes=True,
    ),
    row(
        "two-requests-then-half-close",
        "9112 9.6",
        OURS,
        [get("/hello.txt"), NEXT],
        HELLO_OK,
        TEN_OK,
        after=CLOSED,
        half_closes=True,
    ),
]

ROWS: list[Row] = [
    *request_lines,
    *versions,
    *methods,
    *line_ends,
    *folds,
    *names,
    *values,
    *lengths,
    *bad_lengths,
    *transfer_codings,
    *good_chunks,
    *bad_chunks,
    *incomplete,
    *ends,
]
