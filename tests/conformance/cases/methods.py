"""Methods (RFC 9110 section 9) and their responses (sections 15.5.6 and 15.6.2)."""

import re

from tests.conformance.reader import Response
from tests.conformance.site import FILES, HELLO, LARGE, TEN
from tests.conformance.table import (
    ANY_RESPONSE,
    CLOSED,
    EITHER,
    MAY,
    MUST,
    OURS,
    PRESENT,
    SHOULD,
    Row,
    chunked,
    expect,
    get,
    head,
    raw,
    request,
    row,
)

ALLOWED = {"GET", "HEAD", "OPTIONS"}
HELLO_OK = expect(200, body=HELLO)
NEXT = get("/ten.txt")
TEN_OK = expect(200, body=TEN)


def tokens(value: str) -> set[str]:
    return {one.strip() for one in value.split(",")}


def names_get_and_head(value: str) -> bool:
    return {"GET", "HEAD"} <= tokens(value)


def names_enabled_methods(value: str) -> bool:
    return tokens(value) == ALLOWED


NOT_ALLOWED = expect(405, allow=PRESENT)
NOT_SUPPORTED = expect(501)
ASERVE_NOT_ALLOWED = expect(405, allow=names_enabled_methods)


# RFC 9110 15.5.6: a 405 MUST have Allow. Any other status is valid as well.
NOT_ALLOWED_OR_OTHER = NOT_ALLOWED | expect(*({*range(200, 600)} - {405}))


safe = [
    row("get", "9110 9.1", MUST, get("/hello.txt"), HELLO_OK),
    row("head", "9110 9.1", MUST, head("/hello.txt"), expect(200, body=b"")),
    row("get-large", "9110 9.3.1", MUST, get("/large.bin"), expect(200, body=LARGE)),
    row("get-empty", "9110 9.3.1", MUST, get("/empty.txt"), expect(200, body=b"")),
    row(
        "get-empty-has-length",
        "9110 8.6",
        SHOULD,
        get("/empty.txt"),
        expect(200, content_length="0"),
    ),
    *(
        # RFC 9110 9.3.2: no body; 8.6: Content-Length MUST NOT differ from that of GET.
        row(
            f"head-{name}",
            "9110 9.3.2",
            MUST,
            head(target, **headers),
            expect(status, body=b"", content_length=length) | expect(status, content_length=None),
            aserve=expect(status, body=b"", content_length=length),
        )
        for name, target, status, length, headers in (
            ("length", "/hello.txt", 200, "14", {}),
            ("of-large", "/large.bin", 200, "200000", {}),
            ("of-empty", "/empty.txt", 200, "0", {}),
        )
    ),
    row(
        # RFC 9110 9.3.2: the same headers as for GET SHOULD be sent.
        "head-has-the-headers-of-get",
        "9110 9.3.2",
        SHOULD,
        head("/hello.txt"),
        expect(
            200,
            content_type=re.compile("text/plain.*"),
            content_length="14",
            etag=PRESENT,
            last_modified="Sat, 04 May 2024 03:02:01 GMT",
        ),
    ),
    row("head-of-missing", "9110 9.3.2", MUST, head("/missing"), expect(404, body=b"")),
    row(
        "head-of-missing-then-get",
        "9110 9.3.2",
        MUST,
        [head("/missing"), NEXT],
        expect(404, body=b""),
        TEN_OK.or_close(),
        aserve=(expect(404, body=b""), TEN_OK),
    ),
    row(
        "head-of-large-then-get",
        "9110 9.3.2",
        MUST,
        [head("/large.bin"), NEXT],
        expect(200, body=b""),
        TEN_OK,
    ),
    row(
        "head-ignores-range",
        "9110 14.2",
        MUST,
        head("/ten.txt", range="bytes=0-1"),
        expect(200, content_range=None),
    ),
]

# Other rows check that a 405 has Allow.
_OPTIONS = expect(200, 204, allow=names_get_and_head) | expect(400, 403, 404, 405, 501)
_OUR_OPTIONS = expect(200, 204, allow=names_enabled_methods, body=b"")
options = [
    *(
        row(
            f"options-{name}",
            "9110 9.3.7",
            level,
            request("OPTIONS", target, **headers),
            _OPTIONS,
            aserve=_OUR_OPTIONS,
        )
        for name, level, target, headers in (
            ("file", SHOULD, "/hello.txt", {}),
            ("root", SHOULD, "/", {}),
            ("asterisk", SHOULD, "*", {}),
            ("absolute-form", SHOULD, "http://test/hello.txt", {}),
            # RFC 9112 3.2.4: an absolute-form without path and query means "*".
            ("absolute-form-without-path", SHOULD, "http://test", {}),
            # RFC 9110 7.6.2: with Max-Forwards 0 it MUST NOT be forwarded; the recipient responds.
            ("max-forwards-zero", MAY, "*", {"max_forwards": "0"}),
            # RFC 9110 13.2.1: conditions are for methods that select a representation.
            ("with-condition", MUST, "/hello.txt", {"if_match": '"no such"'}),
            ("with-if-none-match", MUST, "/hello.txt", {"if_none_match": "*"}),
            # RFC 9110 14.2: Range is for GET.
            ("with-range", MUST, "/hello.txt", {"range": "bytes=0-1"}),
        )
    ),
    row(
        "options-with-content",
        "9110 9.3.7",
        MUST,
        [request("OPTIONS", "/hello.txt", body=b"abc", content_type="text/plain"), NEXT],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(_OUR_OPTIONS, TEN_OK),
    ),
    row(
        "options-bad-target",
        "9112 3.2",
        SHOULD,
        request("OPTIONS", "hello.txt"),
        expect(400, 404, 405, 501),
        after=EITHER,
        aserve=expect(400),
    ),
    row(
        "options-fragment",
        "9112 3.2",
        SHOULD,
        request("OPTIONS", "/a#b"),
        expect(400, 301, 404, 405, 501),
        aserve=expect(400),
    ),
    row(
        "options-then-get",
        "9110 9.3.7",
        MUST,
        [request("OPTIONS", "*"), NEXT],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(_OUR_OPTIONS, TEN_OK),
    ),
]

writing = [
    *(
        # RFC 9110 9.1: a method that is not allowed SHOULD get 405; a 2xx would mean success.
        row(
            f"{method.lower()}-is-refused",
            "9110 9.1",
            SHOULD,
            request(method, "/hello.txt", body=b"content"),
            expect(*range(400, 600)),
            aserve=ASERVE_NOT_ALLOWED,
        )
        for method in ("PUT", "DELETE")
    ),
    *(
        row(
            f"{method.lower()}-{name}",
            "9110 15.5.6",
            MUST,
            request(method, target, body=body),
            NOT_ALLOWED_OR_OTHER,
            aserve=ASERVE_NOT_ALLOWED,
        )
        for method in ("POST", "PUT", "DELETE")
        for name, target, body in (
            ("file", "/hello.txt", b""),
            ("missing", "/new.txt", b"content"),
        )
    ),
    row(
        "post-in-chunks",
        "9110 15.5.6",
        MAY,
        request("POST", "/hello.txt", body=chunked(b"abc"), transfer_encoding="chunked"),
        ANY_RESPONSE,
        aserve=ASERVE_NOT_ALLOWED,
    ),
    *(
        row(
            f"{method.lower()}-changes-nothing",
            "9110 15.5.6",
            OURS,
            [request(method, "/hello.txt", body=b"overwritten"), get("/hello.txt")],
            ASERVE_NOT_ALLOWED,
            HELLO_OK,
        )
        for method in ("POST", "PUT", "DELETE")
    ),
    *(
        # RFC 9110 13.2.1: conditions are ignored if the response would not be 2xx or 412 anyway.
        row(
            f"{method.lower()}-refused-before-condition",
            "9110 13.2.1",
            MUST,
            request(method, "/hello.txt", if_match='"no such"'),
            expect(*({*range(200, 600)} - {412})),
            aserve=ASERVE_NOT_ALLOWED,
        )
        for method in ("POST", "PUT", "DELETE")
    ),
]

_UNKNOWN = (
    "PATCH",
    "PROPFIND",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "REPORT",
    "SEARCH",
    "PURGE",
    "M-SEARCH",
    "QUERY",
    "FOO",
)
unknown = [
    *(
        # RFC 9110 9.1: not recognized or not implemented SHOULD be 501; known but not allowed 405.
        row(
            f"method-{method.lower()}",
            "9110 9.1",
            SHOULD,
            request(method, "/hello.txt"),
            expect(405, 501),
            aserve=NOT_SUPPORTED,
        )
        for method in _UNKNOWN
    ),
    *(
        # RFC 9110 9.1: the method token is case-sensitive.
        row(
            f"method-in-lower-case-{method}",
            "9110 9.1",
            SHOULD,
            request(method, "/hello.txt"),
            expect(405, 501, 400),
            aserve=NOT_SUPPORTED,
        )
        for method in ("get", "Get", "head")
    ),
    row(
        "method-of-all-token-characters",
        "9110 5.6.2",
        SHOULD,
        request("!#$%&'*+-.^_`|~09azAZ", "/hello.txt"),
        expect(405, 501),
        aserve=NOT_SUPPORTED,
    ),
    # RFC 9112 3: a method longer than any implemented one SHOULD get 501.
    row("method-too-long", "9112 3", SHOULD, request("A" * 500, "/hello.txt"), NOT_SUPPORTED),
    row(
        "method-unknown-then-get",
        "9110 9.1",
        MUST,
        [request("FOO", "/hello.txt", body=b"abc"), NEXT],
        ANY_RESPONSE,
        TEN_OK.or_close(),
        aserve=(NOT_SUPPORTED, TEN_OK),
    ),
    row(
        "method-unknown-with-unknown-file",
        "9110 9.1",
        SHOULD,
        request("FOO", "/missing"),
        expect(405, 501, 404),
        aserve=NOT_SUPPORTED,
    ),
]

_SENSITIVE = {"authorization": "Basic c2VjcmV0", "cookie": "secret=1"}
special = [
    row(
        # RFC 9110 9.3.8: sensitive data ought not to be echoed; TRACE is disabled by default.
        "trace-off",
        "9110 15.5.6",
        MUST,
        request("TRACE", "/hello.txt", **_SENSITIVE),
        NOT_ALLOWED_OR_OTHER,
        aserve=ASERVE_NOT_ALLOWED,
    ),
    row("trace-off-asterisk", "9110 15.5.6", OURS, request("TRACE", "*"), ASERVE_NOT_ALLOWED),
    *(
        row(
            # What follows may be for the tunnel that there is not: aserve reads none of it.
            f"connect-{name}",
            "9110 9.3.6",
            MUST,
            [request("CONNECT", target, host=target), NEXT],
            expect(*range(300, 600)),
            TEN_OK.or_close(),
            rfc_after=EITHER,
            aserve=expect(400, 405),
            after=CLOSED,
        )
        for name, target in {"authority": "test:80", "stranger": "example.com:443"}.items()
    ),
    *(
        # RFC 9110 9.3.6: an empty or invalid port MUST be rejected.
        row(
            f"connect-{name}",
            "9110 9.3.6",
            MUST,
            request("CONNECT", target),
            expect(*range(300, 600)),
            rfc_after=EITHER,
            aserve=expect(400, 405),
            after=CLOSED,
        )
        for name, target in {
            "without-port": "test",
            "with-empty-port": "test:",
            "with-letters-for-port": "test:http",
            "with-port-too-large": "test:99999",
            "with-path": "/hello.txt",
            "with-url": "http://test:80/",
        }.items()
    ),
]

ALL_METHODS = ALLOWED | {"TRACE", "CONNECT"}


def reflects(response: Response) -> bool:
    """RFC 9110 9.3.8: the message as received, without headers that may be secret."""
    return response.body == (
        b"TRACE /hello.txt HTTP/1.1\r\nHost: test\r\nMax-Forwards: 0\r\nUser-Agent: a/1\r\n\r\n"
    )


_HARMLESS = {"max_forwards": "0", "user_agent": "a/1"}
# Any unknown header may be secret.
_MAYBE_SECRET = (
    *("X-CSRF", "X-Session-Id", "X-Password", "SSL-Client-Cert", "Cookie2", "X-A", "Hosts"),
    *("X-Amz-Security-Token", "Api_Key", "X-Forwarded-For", "Referer", "Accept-Secret", "Via-Key"),
)


# With TRACE enabled, and CONNECT to one address.
switched = [
    row(
        "trace-on",
        "9110 9.3.8",
        SHOULD,
        request("TRACE", "/hello.txt", **_HARMLESS),
        expect(200, body=reflects, content_type="message/http"),
        all_methods=True,
    ),
    row(
        "trace-on-without-secrets",
        "9110 9.3.8",
        SHOULD,
        request("TRACE", "/hello.txt", **_SENSITIVE, proxy_authorization="Basic x", **_HARMLESS),
        expect(200, body=reflects),
        all_methods=True,
    ),
    *(
        row(
            f"trace-on-without-{name.lower()}",
            "9110 9.3.8",
            OURS,
            raw(
                b"TRACE /hello.txt HTTP/1.1\r\nHost: test\r\n%b: 1\r\nMax-Forwards: 0\r\n"
                b"User-Agent: a/1\r\n%b:\r\n\r\n" % (name.encode(), name.upper().encode())
            ),
            expect(200, body=reflects),
            all_methods=True,
        )
        for name in _MAYBE_SECRET
    ),
    row(
        "trace-on-missing-file",
        "9110 9.3.8",
        OURS,
        request("TRACE", "/missing"),
        expect(200, content_type="message/http"),
        all_methods=True,
    ),
    row(
        # RFC 9110 9.3.8: responses to TRACE are not cacheable.
        "trace-on-is-not-stored",
        "9110 9.3.8",
        OURS,
        request("TRACE", "/hello.txt"),
        expect(200, cache_control="no-store", etag=None),
        all_methods=True,
    ),
    row(
        # RFC 9110 13.2.1: conditions do not apply to TRACE.
        "trace-on-with-condition",
        "9110 13.2.1",
        MUST,
        request("TRACE", "/hello.txt", if_match='"no such"'),
        expect(200),
        all_methods=True,
    ),
    row(
        "trace-on-then-get",
        "9110 9.3.8",
        OURS,
        [request("TRACE", "/hello.txt"), NEXT],
        expect(200),
        TEN_OK,
        all_methods=True,
    ),
    *(
        row(
            f"allow-with-all-on-{name}",
            "9110 10.2.1",
            OURS,
            message,
            expect(*statuses, allow=lambda value: tokens(value) == ALL_METHODS),
            all_methods=True,
        )
        for name, message, statuses in (
            ("in-options", request("OPTIONS", "*"), (200, 204)),
            ("in-405", request("DELETE", "/hello.txt"), (405,)),
        )
    ),
    *(
        # RFC 9110 9.3.6: an empty or invalid port MUST be rejected, typically with 400.
        row(
            f"connect-on-{name}",
            "9110 9.3.6",
            MUST,
            request("CONNECT", target),
            expect(*range(400, 600)),
            after=EITHER,
            aserve=expect(*statuses),
            all_methods=True,
        )
        for name, target, *statuses in (
            ("without-port", "test", 400),
            ("with-empty-port", "test:", 400),
            ("with-letters-for-port", "test:http", 400),
            ("with-port-too-large", "test:99999", 400, 403),
            ("with-port-zero", "test:0", 400, 403),
            ("without-host", ":80", 400),
            ("with-path", "/hello.txt", 400),
            ("with-url", "http://test:80/", 400),
            ("with-userinfo", "me@test:80", 400),
            ("to-a-stranger", "example.com:443", 403),
            ("to-another-port", "127.0.0.1:2", 403),
        )
    ),
]

content = [
    row(
        "content-length-of-file",
        "9110 8.6",
        SHOULD,
        get("/hello.txt"),
        expect(200, content_length="14"),
    ),
    *(
        row(
            f"content-type-of-{name}",
            "9110 8.3",
            SHOULD,
            get(f"/{path}"),
            expect(200, body=FILES[path], content_type=re.compile(pattern, re.IGNORECASE)),
        )
        for name, path, pattern in (
            ("text", "hello.txt", r"text/plain(;.*)?"),
            ("html", "sub/page.html", r"text/html(;.*)?"),
            ("script", "type.js", r"(text|application)/(x-)?javascript(;.*)?"),
            ("style", "type.css", r"text/css(;.*)?"),
            ("json", "type.json", r"application/json(;.*)?"),
            ("svg", "type.svg", r"image/svg\+xml(;.*)?"),
            ("png", "type.png", r"image/png"),
        )
    ),
    *(
        row(
            f"content-type-ours-of-{name}",
            "9110 8.3",
            OURS,
            get(f"/{path}"),
            expect(200, content_type=value),
        )
        for name, path, value in (
            ("text", "hello.txt", "text/plain; charset=utf-8"),
            ("script", "type.js", "text/javascript; charset=utf-8"),
            ("json", "type.json", "application/json"),
            ("unknown", "type.unknown-suffix", "application/octet-stream"),
            ("name-without-suffix", "README", "text/plain; charset=utf-8"),
            # RFC 7303 3: a charset parameter would override the declaration of an XML document.
            ("xml", "type.xml", "application/xml"),
            ("feed", "type.atom", "application/atom+xml"),
            ("xhtml", "type.xhtml", "application/xhtml+xml"),
            ("svg", "type.svg", "image/svg+xml"),
            ("compressed-svg", "type.svgz", "image/svg+xml"),
            ("suffix-in-capitals", "TYPE.HTML", "text/html; charset=utf-8"),
            ("archive", "archive.tar.gz", "application/gzip"),
        )
    ),
    *(
        # The type of a compressed file holds after decompression: RFC 9110 8.4.
        row(
            f"compressed-svg-is-a-coded-svg-{name}",
            "9110 8.4",
            OURS,
            get("/type.svgz", **headers),
            expect(200, body=FILES["type.svgz"], content_encoding="gzip", vary=None),
        )
        for name, headers in {
            "asked-plainly": {},
            "for-clients-accepting-gzip": {"accept_encoding": "gzip, br"},
            "for-clients-accepting-none": {"accept_encoding": "identity, *;q=0"},
        }.items()
    ),
    row(
        "archive-is-not-decoded",
        "9110 8.4",
        MUST,
        get("/archive.tar.gz", accept_encoding="gzip"),
        expect(200, body=FILES["archive.tar.gz"], content_encoding=None),
    ),
    row(
        "unknown-headers-are-ignored",
        "9110 5.1",
        MUST,
        get(
            "/hello.txt",
            accept="image/png",
            accept_charset="nothing",
            accept_language="tlh",
            authorization="Basic x",
            cookie="a=b",
            dnt="1",
            x_from="me@example.org",
            max_forwards="0",
            pragma="no-cache",
            priority="u=1",
            referer="http://test/",
            te="trailers",
            user_agent="a (b) c/1",
            via="1.1 proxy",
        ),
        HELLO_OK,
    ),
]

ROWS: list[Row] = [*safe, *options, *writing, *unknown, *special, *switched, *content]
