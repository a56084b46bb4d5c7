"""What writes are answered with, as a table: RFC 9110, 4918 and 9530, and what is then on the disk.

Each row has a directory of its own, which FILES fills; its path stands for {d} in the request. What
a row does not name must be as it was, names that begin with a dot included.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

FOLDER = None
"""In a tree: a directory."""

Tree = Mapping[str, bytes | None]

FILES: Tree = {
    "old.txt": b"old",
    "page.html": b"<b>old</b>",
    "folder": FOLDER,
    "folder/inner.txt": b"inner",
    "folder/deep": FOLDER,
    "folder/deep/last.txt": b"last",
    "empty": FOLDER,
    "guarded": FOLDER,
    "guarded/server.key": b"key",
    ".hidden": b"hidden",
    "server.key": b"key",
}
"""Besides them, `link` leads to old.txt, `out` to a directory outside of the root."""

HeaderCheck = str | Callable[[str], bool] | None
"""An exact value, a predicate, or None: the header must be absent."""


class Row(NamedTuple):
    """One row.

    server: the settings of SERVERS that it needs. head: the request up to its empty line, without
    Host. changes: what is different in the directory afterwards, "gone" for what is deleted.
    closes: whether the connection is closed after the response. continues: whether 100 (Continue)
    is sent before it, and then the body.
    """

    name: str
    clause: str
    head: str
    body: bytes
    status: int
    headers: Mapping[str, HeaderCheck] = {}
    changes: Mapping[str, bytes | str | None] = {}
    server: str = "all"
    closes: bool = False
    continues: bool = False
    content_type: str | None = None


LIMIT = 1_000
SERVERS: Mapping[str, dict[str, object]] = {
    "all": {"write": ("/", "add:/add", "/add/all"), "max_upload": LIMIT, "min_free": 0},
    "part": {"write": ("/part",), "min_free": 0},
    "off": {},
    "quota": {"write": ("/",), "quota": 2_000, "min_free": 0},
    "full": {"write": ("/",), "min_free": 999_999_999 << 30},
}
"""The servers that the rows need. Each row's directory is at its path in a site of its own."""


def row(
    name: str,
    clause: str,
    request: str,
    status: int,
    body: bytes | None = None,
    *,
    headers: Mapping[str, HeaderCheck] | None = None,
    changes: Mapping[str, bytes | str | None] | None = None,
    server: str = "all",
    closes: bool = False,
    continues: bool = False,
    content_type: str | None = None,
    **sent: str,
) -> Row:
    """Build a row. body: with its length as a header, unless sent has a framing of its own."""
    lines = [f"{key.replace('_', '-').title()}: {value}" for key, value in sent.items()]
    is_framed = {"content_length", "transfer_encoding"} & sent.keys()
    if body is not None and not is_framed:
        lines.append(f"Content-Length: {len(body)}")
    method, _, target = request.partition(" ")
    head = "\r\n".join((f"{method} {target} HTTP/1.1", *lines))
    checks, after = headers or {}, changes or {}
    data = body or b""
    return Row(
        *(name, clause, head, data, status, checks, after, server, closes, continues, content_type)
    )


def allows(*methods: str) -> HeaderCheck:
    """Return a check that Allow names these methods besides those that every path has."""
    expected = {"GET", "HEAD", "OPTIONS", *methods}
    return lambda value: {one.strip() for one in value.split(",")} == expected


def is_strong_tag(value: str) -> bool:
    return value.startswith('"') and value.endswith('"') and len(value) > 2


def sha(name: str, data: bytes) -> str:
    digest = hashlib.new(name.replace("-", ""), data).digest()
    return f"{name}=:{base64.b64encode(digest).decode()}:"


TAG = {"etag": is_strong_tag}
NEW = {"new.txt": b"hello"}
HELLO = b"hello"
GONE = "gone"
CHUNKS = b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: u\r\n\r\n"
PROBLEM = "application/problem+json"
PUT_NEW, PUT_OLD = "PUT {d}/new.txt", "PUT {d}/old.txt"
OLD_TAG = "<<etag {d}/old.txt>>"
PAST, FUTURE = "Thu, 01 Jan 1970 00:00:01 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"

stored = [
    row("put-new", "9110 9.3.4", PUT_NEW, 201, HELLO, headers=TAG, changes=NEW),
    row("put-replaces", "9110 9.3.4", PUT_OLD, 204, HELLO, headers=TAG, changes={"old.txt": HELLO}),
    row("put-empty", "9110 9.3.4", PUT_OLD, 204, b"", headers=TAG, changes={"old.txt": b""}),
    row("put-new-empty", "9110 9.3.4", PUT_NEW, 201, b"", changes={"new.txt": b""}),
    row(
        "put-chunked",
        "9112 7.1",
        PUT_NEW,
        201,
        CHUNKS,
        transfer_encoding="chunked",
        headers=TAG,
        changes=NEW,
    ),
    row("put-query", "9110 9.3.4", PUT_NEW + "?a=b", 201, HELLO, changes=NEW),
    row(
        "put-escaped-name",
        "3986 2.1",
        "PUT {d}/%C3%A4%20%25%3F.txt",
        201,
        HELLO,
        changes={"ä %?.txt": HELLO},
    ),
    row(
        "put-identity", "9110 8.4.1", PUT_NEW, 201, HELLO, content_encoding="identity", changes=NEW
    ),
    row("put-largest", "ours", PUT_NEW, 201, b"x" * LIMIT, changes={"new.txt": b"x" * LIMIT}),
    row(
        "put-expect",
        "9110 10.1.1",
        PUT_NEW,
        201,
        HELLO,
        expect="100-continue",
        continues=True,
        changes=NEW,
    ),
    row(
        "put-mkdir",
        "ours",
        "PUT {d}/a/b/new.txt?mkdir=1",
        201,
        HELLO,
        changes={"a": FOLDER, "a/b": FOLDER, "a/b/new.txt": HELLO},
    ),
    row(
        "put-mkdir-there",
        "ours",
        "PUT {d}/folder/new.txt?mkdir=1",
        201,
        HELLO,
        changes={"folder/new.txt": HELLO},
    ),
]

refused = [
    row("put-no-parent", "4918 9.7.1", "PUT {d}/a/new.txt", 409, HELLO),
    row("put-file-as-parent", "4918 9.7.1", "PUT {d}/old.txt/new.txt", 409, HELLO),
    row("put-file-as-parent-mkdir", "ours", "PUT {d}/old.txt/a/n?mkdir=1", 409, HELLO),
    row(
        "put-folder",
        "9110 15.5.6",
        "PUT {d}/folder",
        405,
        HELLO,
        headers={"allow": allows("POST", "DELETE", "MOVE")},
    ),
    row("put-slash", "9110 15.5.10", "PUT {d}/new/", 409, HELLO),
    row("put-slash-there", "9110 15.5.10", "PUT {d}/folder/", 409, HELLO),
    row("put-root", "9110 15.5.6", "PUT /", 405, HELLO, headers={"allow": allows("POST")}),
    row(
        "put-content-range",
        "9110 14.5",
        PUT_OLD,
        400,
        HELLO,
        content_range="bytes 0-4/5",
        closes=True,
    ),
    row(
        "put-encoded",
        "9110 15.5.16",
        PUT_NEW,
        415,
        HELLO,
        content_encoding="gzip",
        headers={"accept-encoding": "identity"},
    ),
    row("put-unknown-coding", "9110 15.5.16", PUT_NEW, 415, HELLO, content_encoding="x, identity"),
    row("put-no-length", "9110 15.5.12", PUT_NEW, 411),
    row("put-too-large", "9110 15.5.14", PUT_OLD, 413, content_length=str(LIMIT + 1), closes=True),
    row(
        "put-too-large-chunked",
        "9110 15.5.14",
        PUT_OLD,
        413,
        b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        transfer_encoding="chunked",
        closes=True,
    ),
    row("put-quota", "4918 11.5", PUT_NEW, 507, content_length="5000", server="quota", closes=True),
    row("put-disk-full", "4918 11.5", PUT_OLD, 507, HELLO, server="full"),
    row("put-short-body", "9112 8", PUT_OLD, 400, b"hel", content_length="5", closes=True),
    row("put-hidden", "ours", "PUT {d}/.hidden", 403, HELLO),
    row("put-hidden-new", "ours", "PUT {d}/.profile", 403, HELLO),
    row("put-key", "ours", "PUT {d}/server.key", 403, HELLO),
    row("put-temporary-name", "ours", "PUT {d}/.aserve-upload-1", 403, HELLO),
    row("put-link", "ours", "PUT {d}/link", 403, HELLO),
    row("put-through-link", "ours", "PUT {d}/out/new.txt", 403, HELLO),
    row("put-long-name", "ours", "PUT {d}/" + "n" * 256, 400, HELLO, closes=True),
    row("put-nul", "9110 15.5.1", "PUT {d}/a%00b", 400, HELLO, closes=True),
    row("put-slash-in-name", "3986 2.2", "PUT {d}/a%2Fb", 404, HELLO, closes=True),
    row("put-above-root", "3986 5.2.4", "PUT /../../../../{d}/new.txt", 201, HELLO, changes=NEW),
]

expecting = [
    row(name, "9110 10.1.1", request, status, closes=True, content_length="5", **sent)
    for name, request, status, sent in [
        ("expect-no-parent", "PUT {d}/a/new.txt", 409, {"expect": "100-continue"}),
        ("expect-folder", "PUT {d}/folder", 405, {"expect": "100-continue"}),
        ("expect-hidden", "PUT {d}/.hidden", 403, {"expect": "100-continue"}),
        (
            "expect-condition",
            PUT_OLD,
            412,
            {"expect": "100-continue", "if_none_match": "*"},
        ),
        ("no-expect-condition", PUT_OLD, 412, {"if_none_match": "*"}),
        ("no-expect-no-parent", "PUT {d}/a/new.txt", 409, {}),
        (
            "expect-foreign-origin",
            PUT_OLD,
            403,
            {"expect": "100-continue", "origin": "https://evil.test"},
        ),
    ]
]
"""Refused before the body: none of it is sent."""

conditions = [
    row("if-none-match-there", "9110 13.1.2", PUT_OLD, 412, HELLO, if_none_match="*"),
    row("if-none-match-new", "9110 13.1.2", PUT_NEW, 201, HELLO, if_none_match="*", changes=NEW),
    row("if-none-match-tag", "9110 13.1.2", PUT_OLD, 412, HELLO, if_none_match=OLD_TAG),
    row("if-match-other", "9110 13.1.1", PUT_OLD, 412, HELLO, if_match='"other"'),
    row("if-match-weak", "9110 13.1.1", PUT_OLD, 412, HELLO, if_match="W/" + OLD_TAG),
    row("if-match-absent", "9110 13.1.1", PUT_NEW, 412, HELLO, if_match="*"),
    row(
        "if-match",
        "9110 13.1.1",
        PUT_OLD,
        204,
        HELLO,
        if_match=f'"x", {OLD_TAG}',
        changes={"old.txt": HELLO},
    ),
    row(
        "if-match-any", "9110 13.1.1", PUT_OLD, 204, HELLO, if_match="*", changes={"old.txt": HELLO}
    ),
    *(
        row(name, "9110 13.2.1", request, status, body, server=server, if_match='"other"', **sent)
        for name, request, status, body, server, sent in [
            ("if-match-disk-full", PUT_OLD, 507, HELLO, "full", {}),
            ("if-match-disk-full-new", PUT_NEW, 507, HELLO, "full", {}),
            ("if-match-quota", PUT_OLD, 507, b"x" * 5_000, "quota", {}),
            ("if-match-folder", "PUT {d}/folder", 405, HELLO, "all", {}),
            ("if-match-hidden", "PUT {d}/.hidden", 403, HELLO, "all", {}),
            ("if-match-no-parent", "PUT {d}/a/new.txt", 409, HELLO, "all", {}),
            ("if-match-encoded", PUT_OLD, 415, HELLO, "all", {"content_encoding": "gzip"}),
            ("if-match-mkdir", "PUT {d}/a/new.txt?mkdir=1", 412, HELLO, "all", {}),
        ]
    ),
    row(
        "if-match-too-large",
        "9110 13.2.1",
        PUT_OLD,
        413,
        content_length=str(LIMIT + 1),
        if_match='"other"',
        closes=True,
    ),
    row("if-unmodified-since", "9110 13.1.4", PUT_OLD, 412, HELLO, if_unmodified_since=PAST),
    row(
        "if-unmodified-since-new",
        "9110 13.1.4",
        PUT_NEW,
        201,
        HELLO,
        if_unmodified_since=PAST,
        changes=NEW,
    ),
    row(
        "if-modified-since-is-ignored",
        "9110 13.1.3",
        PUT_OLD,
        204,
        HELLO,
        if_modified_since=FUTURE,
        changes={"old.txt": HELLO},
    ),
    row("delete-if-match-other", "9110 13.1.1", "DELETE {d}/old.txt", 412, if_match='"other"'),
    row(
        "delete-if-match",
        "9110 13.1.1",
        "DELETE {d}/old.txt",
        204,
        if_match=OLD_TAG,
        changes={"old.txt": GONE},
    ),
]

digests = [
    row(
        "digest",
        "9530 2",
        PUT_OLD,
        204,
        HELLO,
        content_digest=sha("sha-256", HELLO),
        repr_digest=f"{sha('sha-512', HELLO)}, {sha('sha-256', HELLO)}",
        changes={"old.txt": HELLO},
    ),
    row("digest-unknown", "9530 2", PUT_NEW, 201, HELLO, content_digest="md5=:AA==:", changes=NEW),
    row(
        "digest-mismatch",
        "9530 2",
        PUT_OLD,
        400,
        HELLO,
        content_digest=sha("sha-256", b"other"),
        content_type=PROBLEM,
    ),
    row(
        "repr-digest-mismatch",
        "9530 3",
        PUT_NEW,
        400,
        HELLO,
        repr_digest=f"{sha('sha-256', HELLO)},{sha('sha-512', b'other')}",
        content_type=PROBLEM,
    ),
    row(
        "digest-malformed", "8941 4.2", PUT_OLD, 400, HELLO, content_digest="sha-256=x", closes=True
    ),
    row(
        "digest-short", "9530 2", PUT_OLD, 400, HELLO, content_digest="sha-256=:AA==:", closes=True
    ),
]

folders = [
    row("mkcol", "4918 9.3.1", "MKCOL {d}/new", 201, changes={"new": FOLDER}),
    row("mkcol-slash", "4918 9.3.1", "MKCOL {d}/new/", 201, changes={"new": FOLDER}),
    row("mkcol-empty-body", "4918 9.3.1", "MKCOL {d}/new", 201, b"", changes={"new": FOLDER}),
    row(
        "mkcol-there",
        "4918 9.3.1",
        "MKCOL {d}/folder",
        405,
        headers={"allow": allows("POST", "DELETE", "MOVE")},
    ),
    row(
        "mkcol-file",
        "4918 9.3.1",
        "MKCOL {d}/old.txt",
        405,
        headers={"allow": allows("PUT", "DELETE", "MOVE")},
    ),
    row("mkcol-no-parent", "4918 9.3.1", "MKCOL {d}/a/b", 409),
    row("mkcol-mkdir", "ours", "MKCOL {d}/a/b?mkdir=1", 201, changes={"a": FOLDER, "a/b": FOLDER}),
    row("mkcol-body", "4918 9.3", "MKCOL {d}/new", 415, HELLO, closes=True),
    row("mkcol-hidden", "ours", "MKCOL {d}/.git", 403),
    row("mkcol-through-link", "ours", "MKCOL {d}/out/new", 403),
]

deleted = [
    row("delete", "9110 9.3.5", "DELETE {d}/old.txt", 204, changes={"old.txt": GONE}),
    row("delete-missing", "9110 9.3.5", "DELETE {d}/new.txt", 404),
    row("delete-no-parent", "9110 9.3.5", "DELETE {d}/a/new.txt", 404),
    row(
        "delete-tree",
        "4918 9.6.1",
        "DELETE {d}/folder",
        204,
        changes={"folder": GONE, "folder/inner.txt": GONE, "folder/deep": GONE}
        | {"folder/deep/last.txt": GONE},
    ),
    row("delete-empty", "4918 9.6.1", "DELETE {d}/empty/", 204, changes={"empty": GONE}),
    row("delete-hidden-below", "ours", "DELETE {d}/guarded", 409),
    row("delete-hidden", "ours", "DELETE {d}/.hidden", 404),
    row("delete-key", "ours", "DELETE {d}/server.key", 404),
    row("delete-link", "ours", "DELETE {d}/link", 403),
    row("delete-through-link", "ours", "DELETE {d}/out/x.txt", 403),
    row("delete-depth", "4918 9.6.1", "DELETE {d}/folder", 400, depth="0", closes=True),
    row("delete-root", "9110 15.5.6", "DELETE /", 405),
]

adding = [
    row("add-new", "ours", "PUT /add{d}/new.txt", 201, HELLO, changes=NEW),
    row("add-folder", "ours", "MKCOL /add{d}/new", 201, changes={"new": FOLDER}),
    row("add-replace", "ours", "PUT /add{d}/old.txt", 405, HELLO, headers={"allow": allows()}),
    row("add-delete", "ours", "DELETE /add{d}/old.txt", 405, headers={"allow": allows()}),
    row("add-delete-tree", "ours", "DELETE /add{d}/folder", 405, headers={"allow": allows("POST")}),
    row("add-protected", "ours", "DELETE /add", 403),
    row(
        "add-nested",
        "ours",
        "PUT /add/all{d}/old.txt",
        204,
        HELLO,
        changes={"old.txt": HELLO},
    ),
    row("part", "ours", "PUT /part{d}/new.txt", 201, HELLO, server="part", changes=NEW),
    row(
        "part-above",
        "ours",
        "PUT {d}/new.txt",
        405,
        HELLO,
        server="part",
        headers={"allow": allows()},
    ),
    row(
        "part-itself", "ours", "DELETE /part", 405, server="part", headers={"allow": allows("POST")}
    ),
    row("off-put", "9110 15.5.6", PUT_OLD, 405, HELLO, server="off", headers={"allow": allows()}),
    row("off-delete", "9110 15.5.6", "DELETE {d}/old.txt", 405, server="off"),
    row("off-mkcol", "9110 15.6.2", "MKCOL {d}/new", 501, server="off"),
    row(
        "off-options",
        "9110 9.3.7",
        "OPTIONS {d}/old.txt",
        204,
        server="off",
        headers={"allow": allows()},
    ),
]

options = [
    row(f"options-{name}", "9110 9.3.7", f"OPTIONS {target}", 204, headers={"allow": check})
    for name, target, check in [
        ("file", "{d}/old.txt", allows("PUT", "DELETE", "MOVE")),
        ("folder", "{d}/folder", allows("POST", "DELETE", "MOVE")),
        ("folder-slash", "{d}/folder/", allows("POST", "DELETE", "MOVE")),
        ("nothing", "{d}/new.txt", allows("PUT", "MKCOL")),
        ("no-parent", "{d}/a/new.txt", allows("PUT", "MKCOL")),
        ("hidden", "{d}/.hidden", allows()),
        ("link", "{d}/link", allows()),
        ("root", "/", allows("POST")),
        ("add-file", "/add{d}/old.txt", allows()),
        ("add-folder", "/add{d}/folder", allows("POST")),
        ("add-nothing", "/add{d}/new.txt", allows("PUT", "MKCOL")),
        ("absolute", "http://test{d}/old.txt", allows("PUT", "DELETE", "MOVE")),
        ("server", "*", allows("PUT", "PATCH", "DELETE", "MKCOL", "POST", "MOVE")),
    ]
]

options += [
    row(
        "trace", "9110 15.5.6", "TRACE {d}/new.txt", 405, headers={"allow": allows("PUT", "MKCOL")}
    ),
    row("connect", "9110 15.5.6", "CONNECT test:80", 405, headers={"allow": allows()}, closes=True),
]

origins = [
    row(
        f"origin-{name}",
        "fetch",
        "DELETE {d}/old.txt",
        status,
        changes={"old.txt": GONE} if status == 204 else {},
        closes=status == 403,
        **sent,
    )
    for name, status, sent in [
        ("own", 204, {"origin": "http://test", "sec_fetch_site": "same-origin"}),
        ("own-tls", 204, {"origin": "https://TEST"}),
        ("typed", 204, {"sec_fetch_site": "none"}),
        ("foreign", 403, {"origin": "http://evil.test"}),
        ("port", 403, {"origin": "http://test:81"}),
        ("null", 403, {"origin": "null"}),
        ("prefix", 403, {"origin": "http://test.evil"}),
        ("extension", 403, {"origin": "moz-extension://test"}),
        ("two", 403, {"origin": "http://test http://evil.test"}),
        ("cross-site", 403, {"sec_fetch_site": "cross-site"}),
        ("same-site", 403, {"sec_fetch_site": "same-site"}),
        ("lies", 403, {"origin": "http://test", "sec_fetch_site": "cross-site"}),
    ]
]

ROWS = [
    *(*stored, *refused, *expecting, *conditions, *digests, *folders, *deleted, *adding),
    *(*options, *origins),
]
