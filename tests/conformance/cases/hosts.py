"""Host, and the versions of HTTP (RFC 9112 sections 2.3 and 3.2, RFC 9110 sections 2.5 and 7.2)."""

from tests.conformance.site import HELLO
from tests.conformance.table import (
    CLOSED,
    EITHER,
    MAY,
    MUST,
    OURS,
    SHOULD,
    Message,
    Row,
    expect,
    get,
    head,
    post,
    raw,
    request,
    row,
)

HELLO_OK = expect(200, body=HELLO)
BAD = expect(400)


def bad(name: str, *hosts: str, minor: int = 1) -> Row:
    """RFC 9112 3.2: no Host, more than one, or an invalid one MUST get 400."""
    return row(
        f"host-{name}",
        "9112 3.2",
        MUST,
        get("/hello.txt", host=hosts or None, minor=minor),
        BAD,
        after=CLOSED,
        rfc_after=EITHER,
    )


missing = [
    bad("missing"),
    bad("twice", "test", "other"),
    bad("twice-same", "test", "test"),
    bad("twice-one-empty", "test", ""),
    row(
        "host-missing-with-head",
        "9112 3.2",
        MUST,
        head("/hello.txt", host=None),
        expect(400, body=b""),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "host-missing-with-post",
        "9112 3.2",
        MUST,
        post(host=None),
        BAD,
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "host-missing-whatever-the-file",
        "9112 3.2",
        MUST,
        get("/missing", host=None),
        BAD,
        after=CLOSED,
        rfc_after=EITHER,
    ),
    bad("twice-in-http-1.0", "test", "other", minor=0),
]

# RFC 9110 7.2: Host = uri-host [ ":" port ]; RFC 3986 3.2.2.
_INVALID = {
    "with-space": "te st",
    "with-tab": "te\tst",
    "with-slash": "test/",
    "with-path": "test/hello.txt",
    "with-userinfo": "me@test",
    "with-two-ports": "test:80:80",
    "with-letters-for-port": "test:http",
    "with-signed-port": "test:-1",
    "with-query": "test?a",
    "with-fragment": "test#a",
    "with-backslash": "test\\a",
    "with-scheme": "http://test",
    "with-list": "test, other",
    "with-bad-escape": "te%zzst",
    "with-quote": '"test"',
    "with-angle": "<test>",
    "with-caret": "te^st",
    "with-bar": "te|st",
    "with-braces": "{test}",
    "with-backtick": "te`st",
    "with-eight-bit": "t\xe9st",
    "with-bracket-open": "[::1",
    "with-bracket-close": "::1]",
    "with-bare-ipv6": "::1",
    "with-letters-in-brackets": "[test]",
    "with-empty-brackets": "[]",
    "with-junk-after-brackets": "[::1]a",
}
# RFC 3986 3.2.2: only an address in brackets; RFC 9110 4.2.1: the port is a TCP port.
_NO_ADDRESS = {
    "of-a-dot-in-brackets": "[.]",
    "of-a-colon-in-brackets": "[:]",
    "of-a-digit-in-brackets": "[1]",
    "of-hex-digits-in-brackets": "[dead]",
    "of-ipv4-in-brackets": "[1.2.3.4]",
    "of-ipv6-with-two-gaps": "[::1::2]",
    "of-ipv6-with-long-group": "[12345::]",
    "of-ipv6-with-nine-groups": "[1:2:3:4:5:6:7:8:9]",
    "of-ipv6-with-seven-groups": "[1:2:3:4:5:6:7]",
    "of-ipv6-with-bad-ipv4": "[::ffff:999.1.1.1]",
    "of-ipv6-with-zone": "[fe80::1%25eth0]",
    "with-port-of-17-bits": "test:65536",
    "with-port-of-4301-digits": "test:" + "9" * 4_301,
}


def bad_address(name: str, message: Message) -> Row:
    return row(name, "3986 3.2.2", OURS, message, BAD, after=CLOSED)


invalid = [
    *(bad(name, value) for name, value in _INVALID.items()),
    *(
        bad_address(f"{form}-{name}", message)
        for name, value in _NO_ADDRESS.items()
        for form, message in {
            "host": get("/hello.txt", host=value),
            "absolute-form": get(f"http://{value}/hello.txt"),
        }.items()
    ),
    *(
        row(f"connect-{name}", "9110 9.3.6", OURS, message, BAD, after=CLOSED, all_methods=True)
        for name, value in _NO_ADDRESS.items()
        for message in [request("CONNECT", f"{value}:80" if value[0] == "[" else value)]
    ),
]

_VALID = {
    "name": "test",
    "name-of-labels": "www.example.com",
    "name-with-last-dot": "www.example.com.",
    "in-capitals": "TEST",
    "with-port": "test:8000",
    "with-empty-port": "test:",
    "with-underscore": "my_host",
    "with-hyphen": "xn--gre-6ka8i.example",
    "ipv4": "127.0.0.1",
    "ipv4-with-port": "127.0.0.1:80",
    "ipv6": "[::1]",
    "ipv6-with-port": "[2001:db8::1]:8000",
}
# A server may serve several hosts, so 421 and 404 are allowed.
valid = [
    *(
        row(
            f"host-{name}",
            "9110 7.2",
            MUST,
            get("/hello.txt", host=value),
            HELLO_OK | expect(421, 404),
            aserve=HELLO_OK,
        )
        for name, value in _VALID.items()
    ),
    *(
        row(f"host-{name}", "3986 3.2.2", OURS, get("/hello.txt", host=value), HELLO_OK)
        for name, value in {
            "with-sub-delims": "a!$&'()*+;=b",
            "with-escape": "te%73t",
            "with-tilde": "te~st",
            "of-future-ip": "[v1.a:b]",
            "of-future-ip-in-capitals": "[VF.a:b]",
            "of-ipv6-with-ipv4": "[::ffff:127.0.0.1]",
            "of-ipv6-with-gap-of-one": "[1:2:3:4:5:6:7::]",
            "with-port-of-leading-zeros": "test:" + "0" * 4_301 + "80",
        }.items()
    ),
    # RFC 9112 3.2: a client sends an empty Host if the target has no authority.
    row("host-empty", "9112 3.2", MAY, get("/hello.txt", host=""), HELLO_OK | BAD, aserve=HELLO_OK),
]

versions = [
    row(
        # RFC 9110 2.5: the highest supported version with the major version of the request.
        "version-1.0-is-answered-with-1.1",
        "9110 2.5",
        SHOULD,
        get("/hello.txt", minor=0),
        expect(200, body=HELLO, version="HTTP/1.1"),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "version-1.1-is-answered-with-1.1",
        "9110 2.5",
        SHOULD,
        get("/hello.txt"),
        expect(200, body=HELLO, version="HTTP/1.1"),
    ),
    row(
        "version-1.0-without-host",
        "9112 3.2",
        MUST,
        get("/hello.txt", minor=0, host=None),
        HELLO_OK,
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        # RFC 9112 6.1: no Transfer-Encoding unless the request says HTTP/1.1 or later.
        "version-1.0-gets-no-chunks",
        "9112 6.1",
        MUST,
        get("/large.bin", minor=0),
        expect(200, transfer_encoding=None),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    row(
        "version-1.0-gets-no-chunks-for-errors",
        "9112 6.1",
        MUST,
        get("/missing", minor=0),
        expect(404, transfer_encoding=None),
        after=CLOSED,
        rfc_after=EITHER,
    ),
    *(
        # RFC 9110 2.5: a higher minor version SHOULD be processed as the highest supported one.
        row(
            f"version-1.{minor}-is-served-as-1.1",
            "9110 2.5",
            SHOULD,
            get("/hello.txt", minor=minor),
            expect(200, body=HELLO, version="HTTP/1.1"),
        )
        for minor in (2, 3, 9)
    ),
    row(
        "version-1.2-needs-host",
        "9112 3.2",
        SHOULD,
        get("/hello.txt", minor=2, host=None),
        BAD,
        after=CLOSED,
        rfc_after=EITHER,
    ),
    *(
        # RFC 9110 15.6.6; it is not an HTTP/1 message, which allows 400 as well.
        row(
            f"version-{version}",
            "9110 15.6.6",
            SHOULD,
            raw(b"GET /hello.txt HTTP/%b\r\nHost: test\r\n\r\n" % version.encode()),
            expect(505, 400),
            after=CLOSED,
            aserve=expect(505),
        )
        for version in ("2.0", "3.0", "0.9", "9.9", "0.0")
    ),
    *(
        # Other protocols get an error page that names them.
        row(
            f"stranger-{name}",
            "9112 2.2",
            OURS,
            data,
            expect(400, body=lambda response, text=text: text in response.body),
            after=CLOSED,
        )
        for name, data, text in (
            ("tls", bytes.fromhex("160301020001") + bytes(99), b"TLS handshake on a plain HTTP"),
            ("socks-5", b"\x05\x01\x00", b"SOCKS"),
            ("socks-4", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"SOCKS"),
            ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", b"SSH"),
            ("proxy", b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", b"PROXY protocol"),
            ("proxy-2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"PROXY protocol"),
        )
    ),
    row(
        "version-2-preface",
        "9113 3.4",
        OURS,
        raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        expect(505, 400),
        after=CLOSED,
        aserve=expect(505),
    ),
]

ROWS: list[Row] = [*missing, *invalid, *valid, *versions]
