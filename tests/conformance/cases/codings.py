"""Content codings chosen by Accept-Encoding (RFC 9110 sections 8.4 and 12.5.3), and Vary."""

import gzip
import re

from tests.conformance.reader import Response
from tests.conformance.site import (
    FILES,
    HELLO,
    PAGE,
    PAGE_BR,
    PAGE_GZIP,
    PAGE_ZSTD,
    STYLE,
    STYLE_GZIP,
)
from tests.conformance.table import (
    MAY,
    MUST,
    OURS,
    SHOULD,
    Expected,
    Level,
    Row,
    expect,
    get,
    head,
    row,
)

BODIES = {"gzip": PAGE_GZIP, "br": PAGE_BR, "zstd": PAGE_ZSTD, "identity": PAGE}
PLAIN = expect(200, body=PAGE, content_encoding=None)


def is_packed_style(response: Response) -> bool:
    """Tell whether a server has compressed the style sheet itself."""
    is_gzip = response.get("content-encoding") == "gzip"
    return is_gzip and gzip.decompress(response.body) == STYLE


def varies(value: str) -> bool:
    return "accept-encoding" in value.lower() or value == "*"


def coded(coding: str, data: bytes | None = None) -> Expected:
    sent = BODIES[coding] if data is None else data
    named = None if coding == "identity" else coding
    return expect(200, body=sent, content_encoding=named, vary=varies)


def only(*codings: str) -> Expected:
    """Expect one of these content codings, each by the name it is sent under."""

    def holds(response: Response) -> bool:
        return (response.get("content-encoding") or "identity") in codings

    return expect(200, body=holds)


# RFC 9110 12.5.3: a coding that is not listed or has weight 0 is not acceptable; identity is unless
# excluded. The server chooses among the rest: aserve by the highest weight, then the smallest size.
_CHOICES: tuple[tuple[str, Level, str | tuple[str, ...], tuple[str, ...], str], ...] = (
    ("gzip", MUST, "gzip", ("gzip", "identity"), "gzip"),
    ("br", MUST, "br", ("br", "identity"), "br"),
    ("zstd", MUST, "zstd", ("zstd", "identity"), "zstd"),
    ("in-capitals", MUST, "GZIP", ("gzip", "identity"), "gzip"),
    # RFC 9110 8.4.1.3: x-gzip SHOULD be treated as gzip.
    ("x-gzip", SHOULD, "x-gzip", ("gzip", "x-gzip", "identity"), "gzip"),
    ("two-equal", MUST, "gzip, br", ("gzip", "br", "identity"), "br"),
    ("heaviest-first", MUST, "gzip;q=1.0, br;q=0.5", ("gzip", "br", "identity"), "gzip"),
    ("heaviest-last", MUST, "br;q=0.5, gzip;q=0.8", ("gzip", "br", "identity"), "gzip"),
    (
        "three-weights",
        MUST,
        "gzip;q=0.3, br;q=0.2, zstd;q=0.9",
        ("gzip", "br", "zstd", "identity"),
        "zstd",
    ),
    ("thousandths", MUST, "gzip;q=0.002, br;q=0.001", ("gzip", "br", "identity"), "gzip"),
    ("in-lines", MUST, ("br;q=0.5", "gzip"), ("gzip", "br", "identity"), "gzip"),
    ("whitespace-around-weight", MUST, "gzip ; q=0.5", ("gzip", "identity"), "gzip"),
    ("weight-in-capitals", MUST, "gzip;Q=0.5", ("gzip", "identity"), "gzip"),
    ("weight-one", MUST, "gzip;q=1.000", ("gzip", "identity"), "gzip"),
    ("weight-one-with-dot", MUST, "gzip;q=1.", ("gzip", "identity"), "gzip"),
    ("weight-zero-with-dot", MUST, "gzip;q=0.", ("identity",), "identity"),
    ("empty-elements", MUST, ", gzip,,", ("gzip", "identity"), "gzip"),
    ("star", MUST, "*", ("gzip", "br", "zstd", "identity"), "br"),
    ("star-but-br", MUST, "*, br;q=0", ("gzip", "zstd", "identity"), "zstd"),
    ("star-lighter", MUST, "gzip, *;q=0.1", ("gzip", "br", "zstd", "identity"), "gzip"),
    ("identity", MUST, "identity", ("identity",), "identity"),
    ("identity-heavier", MUST, "gzip;q=0.5, identity", ("gzip", "identity"), "identity"),
    ("identity-lighter", MUST, "gzip, identity;q=0.5", ("gzip", "identity"), "gzip"),
    ("gzip-zero", MUST, "gzip;q=0", ("identity",), "identity"),
    ("gzip-zero-point-zero", MUST, "gzip;q=0.000", ("identity",), "identity"),
    ("gzip-zero-whitespace", MUST, "gzip ; q=0", ("identity",), "identity"),
    ("x-gzip-zero", SHOULD, "x-gzip;q=0", ("identity",), "identity"),
    ("gzip-zero-br", MUST, "gzip;q=0, br", ("br", "identity"), "br"),
    ("all-zero-but-identity", MUST, "br;q=0, gzip;q=0, zstd;q=0", ("identity",), "identity"),
    ("star-zero", SHOULD, "gzip, *;q=0", ("gzip",), "gzip"),
    ("identity-zero", SHOULD, "gzip, identity;q=0", ("gzip",), "gzip"),
    ("identity-alone-under-star-zero", MUST, "identity, *;q=0", ("identity",), "identity"),
    ("unknown", MUST, "compress", ("identity",), "identity"),
    ("unknown-and-gzip", MUST, "compress, gzip;q=0.1", ("gzip", "identity"), "gzip"),
    ("prefix-of-gzip", MUST, "gzi", ("identity",), "identity"),
    ("longer-than-gzip", MUST, "gzipped", ("identity",), "identity"),
    ("hyphenated-gzip", MUST, "not-gzip", ("identity",), "identity"),
    # RFC 9110 12.5.3: an empty value means no coding is wanted.
    ("empty", MUST, "", ("identity",), "identity"),
    ("browser", MUST, "gzip, deflate, br, zstd", ("gzip", "br", "zstd", "identity"), "br"),
)
preferences = [
    row(
        f"accept-encoding-{name}",
        "9110 12.5.3",
        level,
        get("/page.html", accept_encoding=value),
        only(*allowed),
        aserve=coded(chosen),
    )
    for name, level, value, allowed, chosen in _CHOICES
]
preferences += [
    row("accept-encoding-none", "9110 12.5.3", OURS, get("/page.html"), coded("identity")),
    *(
        row(
            f"accept-encoding-malformed-{name}",
            "9110 12.4.2",
            OURS,
            get("/page.html", accept_encoding=value),
            PLAIN,
        )
        for name, value in {
            "weight-two": "gzip;q=2",
            "weight-negative": "gzip;q=-1",
            "weight-letters": "gzip;q=x",
            "weight-empty": "gzip;q=",
            "weight-of-four-digits": "gzip;q=0.1234",
            "quoted": '"gzip"',
        }.items()
    ),
    *(
        # RFC 9110 12.5.3: with identity excluded as well, nothing is acceptable: 15.5.7.
        row(
            f"accept-encoding-rejected-{name}",
            "9110 12.5.3",
            SHOULD,
            get(target, accept_encoding=value),
            expect(406, 415),
            aserve=expect(406),
        )
        for name, target, value in (
            ("identity-and-star-zero", "/hello.txt", "identity;q=0, *;q=0"),
            ("star-zero", "/hello.txt", "*;q=0"),
            ("identity-zero", "/hello.txt", "identity;q=0"),
            ("all-zero", "/page.html", "gzip;q=0, br;q=0, zstd;q=0, identity;q=0"),
            ("unknown-and-identity-zero", "/page.html", "compress, identity;q=0"),
        )
    ),
    row(
        "accept-encoding-rejected-with-head",
        "9110 12.5.3",
        OURS,
        head("/hello.txt", accept_encoding="*;q=0"),
        expect(406, body=b""),
    ),
    row(
        "accept-encoding-for-missing-file",
        "9110 15.5.5",
        MUST,
        get("/missing", accept_encoding="*;q=0"),
        expect(404),
    ),
    row(
        "accept-encoding-of-file-without-siblings",
        "9110 12.5.3",
        MUST,
        get("/sub/page.html", accept_encoding="br"),
        only("br", "identity"),
        aserve=expect(200, body=FILES["sub/page.html"], content_encoding=None),
    ),
    row(
        "accept-encoding-gzip-of-gzip-only",
        "9110 12.5.3",
        OURS,
        get("/style.css", accept_encoding="br, gzip"),
        coded("gzip", STYLE_GZIP),
    ),
]


def decompresses(response: Response) -> bool:
    coding = response.get("content-encoding")
    return response.body == STYLE if coding is None else gzip.decompress(response.body) == STYLE


coded_responses = [
    row(
        "coding-unpacks-to-the-file",
        "9110 8.4.1.3",
        MUST,
        get("/style.css", accept_encoding="gzip"),
        expect(200, body=decompresses),
    ),
    row(
        "coding-keeps-media-type",
        "9110 8.4",
        MUST,
        get("/style.css", accept_encoding="gzip"),
        expect(200, content_type=re.compile("text/css.*")),
    ),
    row(
        "coding-has-its-own-length",
        "9110 8.6",
        OURS,
        get("/style.css", accept_encoding="gzip"),
        expect(200, content_length=str(len(STYLE_GZIP))),
    ),
    row(
        "coding-with-head",
        "9110 9.3.2",
        SHOULD,
        head("/style.css", accept_encoding="gzip"),
        expect(200, body=b"", content_encoding="gzip", vary=varies)
        | expect(200, body=b"", content_encoding=None),
        aserve=expect(200, body=b"", content_encoding="gzip", content_length=str(len(STYLE_GZIP))),
    ),
    row(
        # RFC 9110 12.5.5: Vary SHOULD be sent if the selection depended on a request header.
        "vary-of-coded",
        "9110 12.5.5",
        SHOULD,
        get("/style.css", accept_encoding="gzip"),
        expect(200, content_encoding="gzip", vary=varies) | expect(200, content_encoding=None),
        aserve=expect(200, vary="Accept-Encoding"),
    ),
    row(
        "vary-of-plain",
        "9110 12.5.5",
        SHOULD,
        get("/style.css", accept_encoding="identity"),
        expect(200, vary=varies),
        aserve=expect(200, vary="Accept-Encoding"),
    ),
    row(
        "vary-without-accept-encoding",
        "9110 12.5.5",
        SHOULD,
        get("/style.css"),
        expect(200, vary=varies),
        aserve=expect(200, vary="Accept-Encoding"),
    ),
    row(
        "vary-not-where-nothing-varies",
        "9110 12.5.5",
        OURS,
        get("/hello.txt", accept_encoding="gzip"),
        expect(200, vary=None),
    ),
    *(
        row(
            f"sibling-{name}-is-ignored",
            "aserve",
            OURS,
            get(target, accept_encoding="gzip"),
            expect(200, body=STYLE, content_encoding=None)
            | expect(200, body=is_packed_style, content_encoding="gzip"),
        )
        for name, target in {
            "older": "/stale.css",
            "directory": "/folder.css",
            "link-outside": "/linked.css",
            "fifo": "/pipe.css",
        }.items()
    ),
    row(
        "sibling-by-its-own-name",
        "9110 8.4",
        MUST,
        get("/style.css.gz"),
        expect(200, body=STYLE_GZIP, content_encoding=None),
        aserve=expect(200, body=STYLE_GZIP, content_encoding=None, content_type="application/gzip"),
    ),
    # RFC 9110 12.5.1: Accept never excludes a file by its media type here.
    *(
        row(
            f"accept-{name}",
            "9110 12.5.1",
            SHOULD,
            get("/hello.txt", accept=value),
            expect(200, body=HELLO) | expect(406),
            aserve=expect(200, body=HELLO),
        )
        for name, value in {
            "match": "text/plain",
            "other": "image/png",
            "zero": "text/plain;q=0",
            "malformed": "///;;q=,,",
        }.items()
    ),
    row(
        "accept-language-other",
        "9110 12.5.4",
        MAY,
        get("/hello.txt", accept_language="tlh"),
        expect(200, body=HELLO) | expect(406),
        aserve=expect(200, body=HELLO),
    ),
    # RFC 9110 8.4: a request body may be coded; no handler here needs to decode it.
    row(
        "content-encoding-of-request",
        "9110 8.4",
        MAY,
        get("/hello.txt", content_encoding="gzip"),
        expect(200, body=HELLO) | expect(415),
        aserve=expect(200, body=HELLO),
    ),
]

ROWS: list[Row] = [*preferences, *coded_responses]
