"""What uploads in parts are answered with, as a table: tus.io/protocols/resumable-upload, 1.0.0.

Each row has an upload of its own, {u}, into a folder of its own, {d}: 2 bytes of "hello", which
will be new.txt. In the folder is old.txt.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from tests.aserve.writing.rows import HeaderCheck, allows

LIMIT = 1_000
WHOLE, PART, REST = b"hello", b"he", b"llo"
SETTINGS: Mapping[str, object] = {
    "write": ("/",),
    "max_upload": LIMIT,
    "min_free": 0,
    "fsync": False,
}


class TusRow(NamedTuple):
    """One row.

    offset: where the upload ends afterwards, as HEAD tells; None: there is none any more.
    stored: the files that are in the folder afterwards besides old.txt.
    """

    name: str
    clause: str
    request: str
    sent: Mapping[str, str]
    body: bytes | None
    status: int
    headers: Mapping[str, HeaderCheck]
    offset: int | None = 2
    stored: Mapping[str, bytes] = {}


VERSION = {"Tus-Resumable": "1.0.0"}
ANSWERED: Mapping[str, HeaderCheck] = {"tus-resumable": "1.0.0", "cache-control": "no-store"}
BODY = {"Content-Type": "application/offset+octet-stream"}
AT_2 = {"Upload-Offset": "2"}
NEW = {"new.txt": WHOLE}


def metadata(**values: str | bytes) -> str:
    """Return the value of Upload-Metadata."""
    return ",".join(
        f"{key} {base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()}"
        for key, value in values.items()
    )


def checksum(algorithm: str, data: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.new(algorithm, data).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {digest}"}


def named(name: str | bytes, size: int | str = 5) -> dict[str, str]:
    return {"Upload-Length": str(size), "Upload-Metadata": metadata(filename=name)}


def row(  # noqa: PLR0917 - as in a table
    name: str,
    request: str,
    status: int,
    sent: Mapping[str, str] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, HeaderCheck] | None = None,
    *,
    clause: str = "core",
    version: Mapping[str, str] = VERSION,
    answered: Mapping[str, HeaderCheck] = ANSWERED,
    offset: int | None = 2,
    stored: Mapping[str, bytes] | None = None,
) -> TusRow:
    """Build a row of the supported version, answered as all of tus are, unless it says else."""
    checks = {**answered, **(headers or {})}
    sent = {**version, **(sent or {})}
    return TusRow(name, clause, request, sent, body, status, checks, offset, stored or {})


def _is_date(value: str) -> bool:
    return value.endswith(" GMT")


def _is_upload(value: str) -> bool:
    return "/.aserve/tus/" in value


EXPIRES: Mapping[str, HeaderCheck] = {"upload-expires": _is_date}
MORE = {**BODY, **AT_2}

heads = [
    row(
        "head",
        "HEAD {u}",
        200,
        headers={
            "upload-offset": "2",
            "upload-length": "5",
            "upload-metadata": metadata(filename="new.txt"),
            **EXPIRES,
        },
    ),
    row("head-other-token", "HEAD {u}x", 404, headers={"upload-offset": None}),
    row("head-no-version", "HEAD {u}", 412, version={}, headers={"tus-version": "1.0.0"}),
    row(
        "head-other-version",
        "HEAD {u}",
        412,
        version={"Tus-Resumable": "0.2.2"},
        headers={"tus-version": "1.0.0"},
    ),
]

patches = [
    row(
        "patch-some",
        "PATCH {u}",
        204,
        MORE,
        b"ll",
        {"upload-offset": "4", **EXPIRES},
        offset=4,
    ),
    row(
        "patch-rest",
        "PATCH {u}",
        204,
        MORE,
        REST,
        {"upload-offset": "5", "content-location": "/patch-rest/new.txt"},
        offset=5,
        stored=NEW,
    ),
    row(
        "patch-chunked",
        "PATCH {u}",
        204,
        {**MORE, "Transfer-Encoding": "chunked"},
        b"3\r\nllo\r\n0\r\n\r\n",
        {"upload-offset": "5"},
        offset=5,
        stored=NEW,
    ),
    row(
        "patch-by-post",
        "POST {u}",
        204,
        {**MORE, "X-HTTP-Method-Override": "PATCH"},
        REST,
        {"upload-offset": "5"},
        offset=5,
        stored=NEW,
    ),
    row("patch-nothing", "PATCH {u}", 204, MORE, b"", {"upload-offset": "2"}),
    row("patch-no-body", "PATCH {u}", 204, MORE, None, {"upload-offset": "2"}),
    row("patch-offset-before", "PATCH {u}", 409, {**BODY, "Upload-Offset": "0"}, WHOLE),
    row("patch-offset-behind", "PATCH {u}", 409, {**BODY, "Upload-Offset": "3"}, b"lo"),
    row("patch-no-offset", "PATCH {u}", 400, BODY, REST),
    row("patch-negative-offset", "PATCH {u}", 400, {**BODY, "Upload-Offset": "-2"}, REST),
    row("patch-text-as-offset", "PATCH {u}", 400, {**BODY, "Upload-Offset": "2x"}, REST),
    row("patch-type", "PATCH {u}", 415, {**AT_2, "Content-Type": "text/plain"}, REST),
    row("patch-no-type", "PATCH {u}", 415, AT_2, REST),
    row("patch-other-token", "PATCH {u}x", 404, MORE, REST),
    row("patch-no-version", "PATCH {u}", 412, MORE, REST, version={}),
    row("patch-too-long", "PATCH {u}", 400, MORE, b"llo!"),
    row(
        "patch-too-long-chunked",
        "PATCH {u}",
        400,
        {**MORE, "Transfer-Encoding": "chunked"},
        b"4\r\nllo!\r\n0\r\n\r\n",
    ),
    row("patch-other-length", "PATCH {u}", 400, {**MORE, "Upload-Length": "6"}, REST),
    row("patch-of-a-file", "PATCH {d}/old.txt", 405, MORE, REST, answered={}),
    row("get", "GET {u}", 405, answered={}, headers={"allow": lambda value: "PATCH" in value}),
    row("put", "PUT {u}", 405, body=REST, answered={}),
    row(
        "patch-foreign-origin",
        "PATCH {u}",
        403,
        {**MORE, "Origin": "https://evil.test"},
        REST,
        answered={},
    ),
]

checksums = [
    row(
        f"checksum-{algorithm}",
        "PATCH {u}",
        204,
        {**MORE, **checksum(algorithm, REST)},
        REST,
        {"upload-offset": "5"},
        clause="checksum",
        offset=5,
        stored=NEW,
    )
    for algorithm in ("sha1", "sha256", "sha512")
] + [
    row(
        f"checksum-{name}",
        "PATCH {u}",
        status,
        {**MORE, "Upload-Checksum": text},
        REST,
        {"upload-offset": None},
        clause="checksum",
    )
    for name, status, text in [
        ("mismatch", 460, checksum("sha1", b"other")["Upload-Checksum"]),
        ("part", 460, checksum("sha1", WHOLE)["Upload-Checksum"]),
        ("short", 460, "sha1 AAAA"),
        ("unknown", 400, "md5 AAAA"),
        ("no-base64", 400, "sha1 ?"),
        ("not-ascii", 400, "sha1 \xe4"),
        ("empty", 400, ""),
        ("nothing-behind", 460, "sha256"),
    ]
]

CREATED: Mapping[str, HeaderCheck] = {"location": _is_upload, "upload-offset": "0", **EXPIRES}
REFUSED: Mapping[str, HeaderCheck] = {"location": None, "upload-offset": None}

creations = [
    row("create", "POST {d}/", 201, named("a"), b"", CREATED, clause="creation"),
    row("create-no-body", "POST {d}/", 201, named("a"), None, CREATED, clause="creation"),
    row("create-no-slash", "POST {d}", 201, named("a"), b"", CREATED, clause="creation"),
    row(
        "create-path-as-name",
        "POST {d}/",
        201,
        named("../../x\\a", 0),
        b"",
        clause="ours",
        stored={"a": b""},
    ),
    row(
        "create-latin-1",
        "POST {d}/",
        201,
        named(b"\xe4", 0),
        b"",
        clause="ours",
        stored={"\udce4": b""},
    ),
    row(
        "create-name",
        "POST {d}/",
        201,
        {"Upload-Length": "0", "Upload-Metadata": metadata(name="a", type="text/plain") + ",x"},
        b"",
        clause="ours",
        stored={"a": b""},
    ),
    row(
        "create-empty",
        "POST {d}/",
        201,
        named("a", 0),
        b"",
        {"location": _is_upload, "upload-offset": "0", "content-location": "/create-empty/a"},
        clause="creation",
        stored={"a": b""},
    ),
    row(
        "create-deferred",
        "POST {d}/",
        201,
        {"Upload-Defer-Length": "1", "Upload-Metadata": metadata(filename="a")},
        b"",
        CREATED,
        clause="creation-defer-length",
    ),
    row(
        "create-with-part",
        "POST {d}/",
        201,
        {**named("a"), **BODY},
        PART,
        {"location": _is_upload, "upload-offset": "2"},
        clause="creation-with-upload",
    ),
    row(
        "create-with-all",
        "POST {d}/",
        201,
        {**named("a"), **BODY, **checksum("sha256", WHOLE)},
        WHOLE,
        {"upload-offset": "5"},
        clause="creation-with-upload",
        stored={"a": WHOLE},
    ),
    row(
        "create-mkdir",
        "POST {d}/sub/?mkdir=1",
        201,
        named("a", 0),
        b"",
        clause="ours",
        stored={"sub/a": b""},
    ),
    row(
        "create-rename",
        "POST {d}/?on_conflict=rename",
        201,
        named("old.txt", 0),
        b"",
        {"content-location": "/create-rename/old%20(1).txt"},
        clause="ours",
        stored={"old (1).txt": b""},
    ),
] + [
    row(name, f"POST {{d}}/{target}", status, sent, body, REFUSED, clause="creation")
    for name, target, status, sent, body in [
        ("create-taken", "", 409, named("old.txt"), b""),
        ("create-other-rule", "?on_conflict=x", 400, named("a"), b""),
        ("create-no-length", "", 400, {"Upload-Metadata": metadata(filename="a")}, b""),
        ("create-two-lengths", "", 400, {**named("a"), "Upload-Defer-Length": "1"}, b""),
        ("create-negative", "", 400, named("a", "-1"), b""),
        ("create-deferred-0", "", 400, {**named("a", "x"), "Upload-Defer-Length": "0"}, b""),
        ("create-too-large", "", 413, named("a", LIMIT + 1), b""),
        ("create-enormous", "", 413, named("a", "9" * 40), b""),
        ("create-no-name", "", 400, {"Upload-Length": "5"}, b""),
        ("create-empty-name", "", 400, named(""), b""),
        ("create-dots", "", 400, named(".."), b""),
        ("create-nul", "", 400, named("a\0b"), b""),
        ("create-long-name", "", 400, named("n" * 256), b""),
        ("create-hidden", "", 403, named(".profile"), b""),
        ("create-key", "", 403, named("server.key"), b""),
        ("create-folder", "", 409, named("folder"), b""),
        ("create-bad-metadata", "", 400, {**named("a"), "Upload-Metadata": "filename !"}, b""),
        ("create-no-folder", "none/", 409, named("a"), b""),
        ("create-in-a-file", "old.txt", 405, named("a"), b""),
        ("create-concat", "", 400, {**named("a"), "Upload-Concat": "partial"}, b""),
        ("create-other-type", "", 415, {**named("a"), "Content-Type": "text/plain"}, PART),
        ("create-with-too-much", "", 400, {**named("a"), **BODY}, b"hello!"),
        (
            "create-mismatch",
            "",
            460,
            {**named("a"), **BODY, **checksum("sha1", b"x")},
            PART,
        ),
    ]
]

others = [
    row("create-other-version", "POST {d}/", 412, named("a"), b"", version={"Tus-Resumable": "2"}),
    row(
        "create-foreign-origin",
        "POST {d}/",
        403,
        {**named("a"), "Sec-Fetch-Site": "cross-site"},
        b"",
        answered={},
    ),
    row("terminate", "DELETE {u}", 204, clause="termination", offset=None),
    row("terminate-no-version", "DELETE {u}", 412, version={}, clause="termination"),
    row("terminate-other", "DELETE {u}x", 404, clause="termination"),
    row(
        "options",
        "OPTIONS {d}/",
        204,
        version={},
        answered={},
        headers={
            "allow": allows("POST", "DELETE", "MOVE"),
            "tus-resumable": "1.0.0",
            "tus-version": "1.0.0",
            "tus-max-size": str(LIMIT),
            "tus-checksum-algorithm": "sha1,sha256,sha512",
            "tus-extension": "creation,creation-defer-length,creation-with-upload,expiration,"
            "checksum,termination",
        },
    ),
    row(
        "options-upload",
        "OPTIONS {u}",
        204,
        version={},
        answered={},
        headers={
            "accept-patch": "application/offset+octet-stream",
            "allow": "HEAD, PATCH, DELETE, OPTIONS",
        },
    ),
    row(
        "options-file",
        "OPTIONS {d}/old.txt",
        204,
        version={},
        answered={},
        headers={"tus-version": None},
    ),
]

ROWS = [*heads, *patches, *checksums, *creations, *others]
