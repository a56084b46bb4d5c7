"""What WebDAV clients are answered, as a table: RFC 4918, and what is hidden.

The site is that of site.py. A row says what must be in the answer, not all that may be.
"""

from collections.abc import Mapping
from typing import NamedTuple

COLLECTION = "<collection>"
"""The value of resourcetype for a folder."""

Properties = Mapping[str, str | None]
"""Values by names; with None any value will do. A name without a namespace is one of DAV:."""


class Row(NamedTuple):
    """One row.

    request: method and target. hrefs: all resources of the answer, in any order; None: any. found,
    absent: properties that the first resource has (status 200), and that it has not (404), and no
    others. headers: of the response. server: the settings of SERVERS.
    """

    name: str
    clause: str
    request: str
    status: int
    body: bytes = b""
    sent: Mapping[str, str] = {}
    hrefs: frozenset[str] | None = None
    found: Properties | None = None
    absent: frozenset[str] | None = None
    headers: Mapping[str, str | None] = {}
    contains: bytes = b""
    server: str = "folder"


SERVERS: Mapping[str, dict[str, object]] = {
    "folder": {"dav": True},
    "writable": {"dav": True, "write": ("/",), "min_free": 0},
    "off": {},
    "combined": {"dav": True},
    "file": {"dav": True},
}
"""The servers that the rows need. What the last two serve is in site.py."""

LOCKS = ("supportedlock", "lockdiscovery")
OF_FOLDER = ("resourcetype", "displayname", "getlastmodified")
OF_FILE = (*OF_FOLDER, "getcontentlength", "getcontenttype", "getetag")
HELLO: Properties = {
    "resourcetype": "",
    "displayname": "hello.txt",
    "getlastmodified": "Sat, 04 May 2024 03:02:01 GMT",
    "getcontentlength": "14",
    "getcontenttype": "text/plain; charset=utf-8",
    "getetag": None,
}
OTHER = "{urn:x}color"
VISIBLE = (
    "",
    "hello.txt",
    "sub/",
    "empty/",
    "with%20index/",
    "gr%C3%BC%C3%9Fe%20%26%20%3Cb%3E.txt",
)
"""What is at the top of the site, encoded as it must be in every href."""

ZERO, ONE = {"Depth": "0"}, {"Depth": "1"}


def xml(content: str, root: str = "propfind", namespace: str = "DAV:") -> bytes:
    declaration = '<?xml version="1.0" encoding="utf-8"?>'
    return f'{declaration}\n<{root} xmlns="{namespace}" xmlns:x="urn:x">{content}</{root}>'.encode()


def prop(*names: str) -> bytes:
    """Return a body that asks for properties: x:name is one of another namespace."""
    return xml(f"<prop>{''.join(f'<{name}/>' for name in names)}</prop>")


def hrefs(*paths: str) -> frozenset[str]:
    return frozenset(f"/{path}" for path in paths)


def propfind(name: str, clause: str, target: str, status: int = 207, **more: object) -> Row:
    return Row(name, clause, f"PROPFIND {target}", status, **more)  # type: ignore[arg-type]


def bad(name: str, clause: str, body: bytes, status: int = 400, reason: bytes = b"") -> Row:
    return propfind(name, clause, "/", status, body=body, sent=ZERO, contains=reason)


FILE, FOLDER = "/hello.txt", "/sub/"

depths = [
    propfind("depth-0", "9.1", "/", sent=ZERO, hrefs=hrefs("")),
    propfind("depth-1", "9.1", "/", sent=ONE, hrefs=hrefs(*VISIBLE)),
    propfind("depth-1-of-file", "9.1", FILE, sent=ONE, hrefs=hrefs("hello.txt")),
    propfind("depth-1-of-empty", "9.1", "/empty/", sent=ONE, hrefs=hrefs("empty/")),
    propfind("depth-1-below", "9.1", FOLDER, sent=ONE, hrefs=hrefs("sub/", "sub/inner.txt")),
    propfind(
        # What the owner of the site asks for are all files: an index is one of them.
        "depth-1-with-index",
        "9.1",
        "/with%20index/",
        sent=ONE,
        hrefs=hrefs("with%20index/", "with%20index/index.html", "with%20index/other.txt"),
    ),
    *(
        propfind(
            f"depth-{name}",
            "9.1.1",
            "/",
            403,
            sent=sent,
            contains=b"<D:propfind-finite-depth/>",
            headers={"content-type": "application/xml; charset=utf-8"},
        )
        for name, sent in (("infinity", {"Depth": "infinity"}), ("missing", {}))
    ),
    propfind("depth-infinity-of-file", "9.1", FILE, 403),
    *(
        propfind(f"depth-bad-{number}", "10.2", "/", 400, sent={"Depth": value})
        for number, value in enumerate(("2", "-1", "1,noroot", "0, 1", "x"))
    ),
    propfind("depth-in-any-case", "10.2", "/", 403, sent={"Depth": "Infinity"}),
]

asked = [
    propfind("no-body-is-allprop", "9.1", FILE, sent=ZERO, found=HELLO, absent=frozenset()),
    propfind(
        "no-body-with-a-length",
        "9.1",
        FILE,
        sent={**ZERO, "Content-Length": "0"},
        found=HELLO,
        absent=frozenset(),
    ),
    propfind(
        "allprop", "9.1.5", FILE, body=xml("<allprop/>"), sent=ZERO, found=HELLO, absent=frozenset()
    ),
    propfind(
        "allprop-of-folder",
        "9.1.5",
        FOLDER,
        body=xml("<allprop/>"),
        sent=ZERO,
        found={"resourcetype": COLLECTION, "displayname": "sub", "getlastmodified": None},
        absent=frozenset(),
    ),
    propfind(
        "allprop-include",
        "9.1.6",
        FILE,
        body=xml("<allprop/><include><supportedlock/><getetag/><x:color/></include>"),
        sent=ZERO,
        found=HELLO,
        absent=frozenset({"supportedlock", OTHER}),
    ),
    propfind(
        "propname",
        "9.1.4",
        FILE,
        body=xml("<propname/>"),
        sent=ZERO,
        found=dict.fromkeys(OF_FILE, ""),
        absent=frozenset(),
    ),
    propfind(
        "propname-of-folder",
        "9.1.4",
        FOLDER,
        body=xml("<propname/>"),
        sent=ZERO,
        found=dict.fromkeys(OF_FOLDER, ""),
        absent=frozenset(),
    ),
    propfind(
        "prop",
        "9.1.3",
        FILE,
        body=prop("getcontentlength", "x:color", "creationdate", *LOCKS),
        sent=ZERO,
        found={"getcontentlength": "14"},
        absent=frozenset({OTHER, "creationdate", *LOCKS}),
    ),
    propfind(
        "prop-of-folder",
        "9.1.3",
        FOLDER,
        body=prop("resourcetype", "getcontentlength", "getetag", "getcontenttype"),
        sent=ZERO,
        found={"resourcetype": COLLECTION},
        absent=frozenset({"getcontentlength", "getetag", "getcontenttype"}),
    ),
    propfind(
        "prop-unknown-only",
        "9.1.3",
        FILE,
        body=prop("x:color"),
        sent=ZERO,
        found={},
        absent=frozenset({OTHER}),
    ),
    propfind(
        "prop-of-nothing", "14.18", FILE, body=prop(), sent=ZERO, found={}, absent=frozenset()
    ),
    propfind(
        "prop-twice",
        "9.1",
        FILE,
        body=prop("getetag", "getetag"),
        sent=ZERO,
        found={"getetag": None},
    ),
    propfind(
        # Section 17: what is not known is ignored, with all that is in it.
        "unknown-elements",
        "17",
        FILE,
        body=xml(
            "<x:leave-out><prop><getetag/></prop></x:leave-out><prop><getcontentlength/></prop>"
        ),
        sent=ZERO,
        found={"getcontentlength": "14"},
    ),
    propfind(
        "prop-in-no-namespace",
        "8.2",
        FILE,
        body=b'<D:propfind xmlns:D="DAV:"><D:prop><bar xmlns=""/></D:prop></D:propfind>',
        sent=ZERO,
        found={},
        absent=frozenset({"{}bar"}),
    ),
    propfind(
        "utf-16",
        "8.2",
        FILE,
        body=xml("<propname/>").decode().replace("utf-8", "utf-16").encode("utf-16"),
        sent=ZERO,
        found=dict.fromkeys(OF_FILE, ""),
    ),
    propfind(
        "chunked",
        "9.1",
        FILE,
        body=prop("getetag"),
        sent={**ZERO, "Transfer-Encoding": "chunked"},
        found={"getetag": None},
    ),
]


def with_type(document_type: str, content: str) -> bytes:
    """Return a body with a document type."""
    return document_type.encode() + xml(content).partition(b"\n")[2]


_TEN = "&a;" * 10
BOMB = with_type(
    f'<!DOCTYPE a [<!ENTITY a "{"a" * 10}"><!ENTITY b "{_TEN}">]>', "<prop><x:b>&b;</x:b></prop>"
)

bodies = [
    bad("not-xml", "8.2", b"foo"),
    bad("not-well-formed", "8.2", b'<D:propfind xmlns:D="DAV:"><D:prop></D:propfind>'),
    bad(
        "not-well-formed-namespace",
        "8.2",
        b'<D:propfind xmlns:D="DAV:"><D:prop><bar:foo xmlns:bar=""/></D:prop></D:propfind>',
    ),
    bad("unbound-prefix", "8.2", b"<D:propfind><D:allprop/></D:propfind>"),
    bad("empty-propfind", "14.20", xml("")),
    bad("two-at-once", "14.20", xml("<allprop/><propname/>")),
    bad("prop-is-there-twice", "14.20", xml("<prop/><prop/>")),
    bad("other-root", "14.20", xml("<prop/>", root="propertyupdate")),
    bad("other-namespace", "14.20", xml("<allprop/>", namespace="urn:x")),
    bad(
        "document-type",
        "20.6",
        with_type("<!DOCTYPE propfind>", "<allprop/>"),
        reason=b"must not have a document type",
    ),
    bad("entities", "20.6", BOMB, reason=b"must not have a document type"),
    bad(
        "entities-in-utf-16",
        "20.6",
        BOMB.decode().encode("utf-16"),
        reason=b"must not have a document type",
    ),
    bad("other-encoding", "8.2", xml("<allprop/><!-- \u00e4 -->").decode().encode("latin-1")),
    bad("many-properties", "20.1", prop(*(f"x:p{number}" for number in range(201)))),
    bad("too-large", "20.1", xml(f"<allprop/><!--{'x' * 65_536}-->"), 413),
]

paths = [
    propfind("missing", "9.1", "/nothing", 404, sent=ZERO),
    propfind("hidden", "9.1", "/server.key", 404, sent=ZERO),
    propfind("hidden-folder", "9.1", "/.git/", 404, sent=ONE),
    propfind("link-out", "9.1", "/out/", 404, sent=ONE),
    propfind("above-the-root", "9.1", "/../../etc/passwd", 404, sent=ZERO),
    propfind("file-with-slash", "9.1", "/hello.txt/", 404, sent=ZERO),
    propfind(
        "folder-without-slash",
        "5.2",
        "/sub",
        sent=ONE,
        hrefs=hrefs("sub/", "sub/inner.txt"),
        headers={"content-location": "/sub/"},
    ),
    propfind("folder-with-slash", "5.2", "/sub/", sent=ZERO, headers={"content-location": None}),
    propfind("encoded-otherwise", "8.3", "/s%75b/", sent=ONE, hrefs=hrefs("sub/", "sub/inner.txt")),
    propfind("query", "9.1", "/sub/?format=json", sent=ZERO, hrefs=hrefs("sub/")),
    propfind("absolute-form", "9110 7.1", "http://test/sub/", sent=ZERO, hrefs=hrefs("sub/")),
    propfind("incomplete-escape", "9110 4.1", "/%zz", 400, sent=ZERO),
]

_LOCKED = "GET, HEAD, OPTIONS, PROPFIND"
options = [
    Row("options", "18.1", "OPTIONS /", 200, headers={"dav": "1", "allow": _LOCKED}),
    Row("options-of-all", "18.1", "OPTIONS *", 200, headers={"dav": "1", "allow": _LOCKED}),
    *(
        Row(
            f"no-{method.lower()}",
            "9110 15.5.6",
            f"{method} /hello.txt",
            405,
            headers={"allow": _LOCKED},
        )
        for method in ("PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK")
    ),
    Row("off-options", "18.1", "OPTIONS /", 204, headers={"dav": None}, server="off"),
    propfind("off", "9110 9.1", "/", 501, sent=ZERO, server="off"),
    propfind("off-with-a-body", "9110 9.1", "/", 501, body=prop("getetag"), server="off"),
]

writable = [
    Row(
        "writable-options",
        "9110 10.2.1",
        "OPTIONS /hello.txt",
        200,
        headers={"dav": "1", "allow": f"{_LOCKED}, PUT, DELETE, MOVE"},
        server="writable",
    ),
    propfind(
        "writable",
        "9.1",
        FILE,
        sent=ONE,
        body=prop("getcontentlength"),
        found={"getcontentlength": "14"},
        server="writable",
    ),
    propfind(
        # It is safe, as GET is (section 9.1); that no page reads the answer is the browser's part.
        "foreign-origin",
        "9.1",
        "/",
        sent={**ZERO, "Origin": "http://other.example"},
        server="writable",
    ),
    Row("writable-no-lock", "9110 15.5.6", "LOCK /hello.txt", 405, server="writable"),
]

others = [
    propfind(
        "combined",
        "9.1",
        "/",
        sent=ONE,
        hrefs=hrefs("", "docs/", "film.mkv", "way/"),
        server="combined",
    ),
    propfind(
        "combined-folder",
        "9.1",
        "/docs",
        sent=ONE,
        hrefs=hrefs("docs/", "docs/inner.txt"),
        server="combined",
    ),
    propfind(
        "combined-on-the-way",
        "9.1",
        "/way/",
        sent=ONE,
        hrefs=hrefs("way/", "way/to/"),
        server="combined",
    ),
    propfind(
        "combined-file",
        "9.1",
        "/film.mkv",
        sent=ZERO,
        found={**HELLO, "displayname": "film.mkv", "getcontenttype": "video/matroska"},
        server="combined",
    ),
    propfind("file-at-the-root", "9.1", "/", sent=ONE, hrefs=hrefs("", "hello.txt"), server="file"),
    propfind("file", "9.1", "/hello.txt", sent=ONE, found=HELLO, server="file"),
    propfind("file-beside-it", "9.1", "/sub/", 404, sent=ONE, server="file"),
]

ROWS = [*depths, *asked, *bodies, *paths, *options, *writable, *others]
