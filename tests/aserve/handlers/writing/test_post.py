"""POST into a folder, over sockets: what is stored, what is told, and that nothing is ever half."""

import http.client
import json
import os
import socket
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.http.form_parser import MAX_FIELD_SIZE, MAX_PARTS
from aserve.http1.limits import Limits
from tests.aserve.seams.serving import MODEL_PARAMS

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"  # as browsers send it
FORM = "multipart/form-data; boundary=b0"
END = b"--b0--\r\n"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def files(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(self.body)["files"]
        return found


class Site:
    """A served directory and a client. root: what is served; `in` is a folder there."""

    def __init__(self, root: Path, server: aserve.Server) -> None:
        self.root = root
        address = urlsplit(server.url)
        self.address = (address.hostname or "", address.port or 0)

    def send(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        client = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            client.request(method, target, body, named)
            response = client.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            client.close()

    def form(self, form: bytes, target: str = "/in/", **headers: str) -> Answer:
        return self.send("POST", target, form, Content_Type=FORM, **headers)

    def raw(self, target: str, body: bytes = b"hello", **headers: str) -> Answer:
        return self.send("POST", target, body, **headers)

    def stored(self, folder: str = "in") -> dict[str, bytes]:
        """Return all that is in a folder, hidden files as well."""
        paths = (self.root / folder).iterdir()
        return {path.name: path.read_bytes() for path in paths if path.is_file()}


@contextmanager
def serving(root: Path, **settings: object) -> Iterator[Site]:
    (root / "in").mkdir(exist_ok=True)
    options = {"write": ("/",), "fsync": False, "min_free": 0, **settings}
    if not options["write"]:
        options = {}
    with aserve.Server(root, **options) as server:  # type: ignore[arg-type]
        yield Site(root, server)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving(tmp_path) as site:
        yield site


def part(content: bytes, name: str = "a.txt") -> bytes:
    head = f'--b0\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def field(content: bytes) -> bytes:
    return b'--b0\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + content + b"\r\n"


@pytest.mark.parametrize("model", MODEL_PARAMS)
def test_the_files_of_a_form_are_stored_by_every_model(model: str, tmp_path: Path) -> None:
    large = os.urandom(300_000)
    with serving(tmp_path, model=model) as site:
        form = part(b"one", "a.txt") + field(bytes(100_000)) + part(large, "b.bin") + END
        answer = site.form(form)
        assert (answer.status, answer.headers["Location"]) == (201, "/in/")
        assert answer.text == "Stored: /in/a.txt\nStored: /in/b.bin\n"
        assert site.stored() == {"a.txt": b"one", "b.bin": large}
        assert site.send("GET", "/in/b.bin").body == large


def test_one_file_has_its_address_and_its_tag(site: Site) -> None:
    answer = site.form(part(b"one", "ä b.txt") + END)
    assert (answer.status, answer.headers["Location"]) == (201, "/in/%C3%A4%20b.txt")
    assert answer.headers["ETag"] == site.send("HEAD", "/in/%C3%A4%20b.txt").headers["ETag"]


def test_a_program_gets_json(site: Site) -> None:
    (site.root / "in/b.txt").write_bytes(b"old")
    form = part(b"one") + part(b"two", "b.txt") + part(b"3", "c/c.txt") + END
    answer = site.form(form, Accept="application/json")
    assert answer.status == 409  # of the first file that is not stored
    assert [one.pop("etag", "")[:1] for one in answer.files] == ['"', "", '"']
    first, second, third = json.loads(answer.body)["files"]
    del first["etag"], third["etag"]
    assert first == {"name": "a.txt", "status": 201, "url": "/in/a.txt", "size": 3}
    assert second == {"name": "b.txt", "status": 409, "detail": "This name is already taken."}
    assert third == {"name": "c/c.txt", "status": 201, "url": "/in/c.txt", "size": 1}
    assert site.stored() == {"a.txt": b"one", "b.txt": b"old", "c.txt": b"3"}


def test_a_browser_is_sent_back_to_the_folder(site: Site) -> None:
    answer = site.form(part(b"one") + END, Accept=HTML)
    assert (answer.status, answer.headers["Location"], answer.body) == (303, "/in/", b"")
    assert site.stored() == {"a.txt": b"one"}


def test_a_browser_is_told_what_was_not_stored(site: Site) -> None:
    form = part(b"one", "<b>&.txt") + part(b"two", ".env") + END
    answer = site.form(form, Accept=HTML)
    assert answer.status == 403
    assert "<h1>1 of 2 files stored</h1>" in answer.text
    assert "&lt;b&gt;&amp;.txt</bdi></a> is stored" in answer.text
    assert "<bdi>.env</bdi> was not stored" in answer.text
    assert "script" not in answer.headers["Content-Security-Policy"]


CONFLICTS = {
    "error": (409, {"a.txt": b"old"}),
    "replace": (200, {"a.txt": b"new"}),
    "rename": (201, {"a.txt": b"old", "a (1).txt": b"new"}),
}


@pytest.mark.parametrize("conflict", CONFLICTS)
@pytest.mark.parametrize("how", ["by setting", "by query"])
@pytest.mark.parametrize("kind", ["form", "raw"])
def test_what_is_done_where_a_name_is_taken(
    conflict: str, how: str, kind: str, tmp_path: Path
) -> None:
    settings, query = ({"on_conflict": conflict}, "") if how == "by setting" else ({}, conflict)
    with serving(tmp_path, **settings) as site:
        (tmp_path / "in/a.txt").write_bytes(b"old")
        target = f"/in/?name=a.txt&on_conflict={query}" if query else "/in/?name=a.txt"
        form = site.form(part(b"new") + END, target) if kind == "form" else None
        answer = form or site.raw(target, b"new")
        assert (answer.status, site.stored()) == CONFLICTS[conflict]


@pytest.mark.parametrize("conflict", ["replace", "error"])
def test_nothing_is_replaced_where_files_are_only_added(conflict: str, tmp_path: Path) -> None:
    with serving(tmp_path, write=("add",)) as site:
        (tmp_path / "in/a.txt").write_bytes(b"old")
        assert site.raw(f"/in/?name=a.txt&on_conflict={conflict}").status == 409
        assert site.raw("/in/?name=a.txt&on_conflict=rename").status == 201
        assert site.stored() == {"a.txt": b"old", "a (1).txt": b"hello"}


NAMES: dict[str, str | int] = {
    "../../etc/passwd": "passwd",
    "/a/b": "b",
    "C:\\temp\\b.txt": "b.txt",
    "a b ÿ中😀.txt": "a b ÿ中😀.txt",
    "u\u0308.txt": "\u00fc.txt",  # as macOS decomposes it
    "%2e%2e%2fx": "%2e%2e%2fx",
    " x ": " x ",
    "n" * 255: "n" * 255,
    "ü" * 127 + ".": "ü" * 127 + ".",
    "n" * 256: 400,
    "ü" * 128: 400,
    "..": 400,
    "a/..": 400,
    ".": 400,
    "a/": 400,
    "a\x7fb": 400,
    "a\u0085b": 400,
    "a%0D%0Ab": 400,  # a form's escape of a line break
    ".env": 403,
    ".hidden": 403,
    "server.key": 403,
    ".aserve-upload-x": 403,
    "folder": 409,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_gets_a_name_that_it_may_have_or_none(name: str, site: Site) -> None:
    (site.root / "in/folder").mkdir()
    answer = site.form(part(b"x", name) + END)
    expected = NAMES[name]
    if isinstance(expected, str):
        assert (answer.status, list(site.stored())) == (201, [expected])
    else:
        assert (answer.status, site.stored()) == (expected, {})
    assert {path.name for path in site.root.iterdir()} == {"in"}


# Each breaks a form behind a whole file, which stays.
BROKEN = {
    "no end": (b"", 400),
    "half a head": (b"--b0\r\nContent-Disp", 400),
    "half a file": (part(b"two", "b.txt")[:-3], 400),
    "no name": (b"--b0\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, 400),
    "a long header": (b"--b0\r\nX: " + b"y" * 10_000, 413),
    "a long field": (field(bytes(MAX_FIELD_SIZE + 1)) + END, 413),
    "NUL in a name": (part(b"two", "b\0.txt") + END, 400),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_form_leaves_whole_files_only(name: str, site: Site) -> None:
    rest, status = BROKEN[name]
    # The boundary before a broken part ends the file before it.
    answer = site.form(part(b"one") + rest)
    whole = {"a.txt": b"one"} if rest.startswith(b"--b0") else {}
    assert (answer.status, site.stored()) == (status, whole)
    assert ("The file before it is stored." in answer.text) == bool(whole)
    assert site.form(part(b"two") + END, "/in/?on_conflict=replace").status in {200, 201}


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (b"", 400),
        (END, 400),
        (field(b"x") + END, 400),
        (part(b"", "") + END, 400),  # no file was chosen
        (field(b"") * (MAX_PARTS + 1) + END, 413),
        (bytes(200_000), 400),  # a boundary never comes
    ],
    ids=["empty", "no part", "no file", "not chosen", "many parts", "no boundary"],
)
def test_a_form_without_files_stores_nothing(form: bytes, status: int, site: Site) -> None:
    assert site.form(form).status == status
    assert site.stored() == {}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/x-www-form-urlencoded", 415),
        ("multipart/mixed; boundary=b0", 415),
        ("multipart/form-data", 400),
    ],
)
def test_another_form_is_refused(content_type: str, status: int, site: Site) -> None:
    answer = site.send("POST", "/in/?name=a", part(b"x") + END, Content_Type=content_type)
    assert (answer.status, site.stored()) == (status, {})


def test_a_file_that_ends_with_its_connection_is_not_stored(tmp_path: Path) -> None:
    head = f"POST /in/ HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n\r\n"
    with serving(tmp_path) as site, socket.create_connection(site.address, 60) as client:
        client.sendall(head.encode() + part(b"one") + part(b"two", "b.txt")[:-2])
        ends_at = time.monotonic() + 60
        while not site.stored() and time.monotonic() < ends_at:
            time.sleep(0.001)
    # The server has stopped: nothing is under way.
    assert site.stored() == {"a.txt": b"one"}


@pytest.mark.slow  # a deadline is a second at least
def test_a_body_that_never_ends_is_408_and_leaves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(transfer_timeout=1)) as site:
        head = (
            f"POST /in/ HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: 9999\r\n\r\n"
        )
        with socket.create_connection(site.address, 60) as client:
            client.sendall(head.encode() + part(b"one")[:-3])
            received = b"".join(iter(lambda: client.recv(1 << 16), b""))
        assert received.startswith(b"HTTP/1.1 408 ")
        assert site.stored() == {}


@pytest.mark.parametrize(
    ("target", "headers", "stored"),
    [
        ("/in/?name=a%2Fb%20c.txt", {}, "in/b c.txt"),
        ("/in?name=a.txt", {}, "in/a.txt"),  # without a slash at the end
        ("/in/", {"Content_Disposition": 'attachment; filename="a.txt"'}, "in/a.txt"),
        ("/in/?name=n", {"Content_Disposition": "attachment; filename=a"}, "in/n"),
        ("/?name=a.txt", {}, "a.txt"),
        ("/new/deep/?name=a.txt&mkdir=1", {}, "new/deep/a.txt"),
        ("/in/?name=a.html", {"Content_Type": "text/html"}, "in/a.html"),
    ],
)
def test_a_body_is_stored_as_it_is(
    target: str, headers: dict[str, str], stored: str, site: Site
) -> None:
    answer = site.raw(target, **headers)
    assert answer.status == 201
    assert answer.headers["Location"] == "/" + stored.replace(" ", "%20")
    assert (site.root / stored).read_bytes() == b"hello"


def test_an_empty_file_is_stored(site: Site) -> None:
    assert site.raw("/in/?name=raw", b"").status == 201
    assert site.form(part(b"", "form") + END).status == 201
    assert site.stored() == {"raw": b"", "form": b""}


@pytest.mark.parametrize("name", ["a.txt", ".env", "folder"])
def test_a_name_that_cannot_be_had_is_refused_before_the_body(name: str, site: Site) -> None:
    (site.root / "in/a.txt").write_bytes(b"old")
    (site.root / "in/folder").mkdir()
    head = f"POST /in/?name={name} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue"
    with socket.create_connection(site.address, 60) as client:
        client.sendall(f"{head}\r\n\r\n".encode())
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 403 " if name == ".env" else b"HTTP/1.1 409 ")
    assert site.stored() == {"a.txt": b"old"}


DIGEST = b64encode(sha256(b"hello").digest()).decode()


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/in/", {}, 400),
        ("/in/?name=", {}, 400),
        ("/in/?name=%00", {}, 400),
        ("/in/?name=.env", {}, 403),
        ("/in/?name=a&on_conflict=ask", {}, 400),
        ("/missing/?name=a", {}, 409),
        ("/missing/deep/?name=a", {}, 409),
        ("/.git/?name=a&mkdir=1", {}, 403),
        ("/file?name=a", {}, 405),
        ("/in/?name=a", {"Content_Range": "bytes 0-4/9"}, 400),
        ("/in/?name=a", {"Content_Encoding": "gzip"}, 415),
        ("/in/?name=a", {"Content_Digest": f"sha-256=:{DIGEST[::-1][:-1]}A=:"}, 400),
        ("/in/?name=a", {"Content_Digest": f"sha-256=:{b64encode(bytes(32)).decode()}:"}, 400),
    ],
)
def test_a_body_that_cannot_be_stored_is_refused(
    target: str, headers: dict[str, str], status: int, site: Site
) -> None:
    (site.root / "file").write_bytes(b"old")
    answer = site.raw(target, **headers)
    assert (answer.status, site.stored()) == (status, {})
    assert {path.name for path in site.root.iterdir()} == {"in", "file"}
    if status == 405:
        assert "POST" not in answer.headers["Allow"].split(", ")


def test_a_body_with_the_digest_that_it_names_is_stored(site: Site) -> None:
    assert site.raw("/in/?name=a", Content_Digest=f"sha-256=:{DIGEST}:").status == 201


def test_a_file_over_the_limit_is_refused_and_the_others_are_stored(tmp_path: Path) -> None:
    with serving(tmp_path, max_upload=10) as site:
        assert site.raw("/in/?name=a", bytes(11)).status == 413
        assert site.form(part(bytes(11)) + part(b"two", "b.txt") + END).status == 413
        assert site.stored() == {"b.txt": b"two"}


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_full_folder_ends_a_form_and_keeps_what_is_whole(sent: int, tmp_path: Path) -> None:
    with serving(tmp_path, quota=10) as site:
        files = b"".join(part(b"1234", f"{number}.txt") for number in range(sent))
        answer = site.form(files + part(bytes(11), "large.txt") + part(b"", "last.txt") + END)
        assert answer.status == 507
        assert sorted(site.stored()) == [f"{number}.txt" for number in range(sent)]
    told = ["quota", "The file before it is stored.", "The 2 files before it are stored."]
    assert told[sent] in answer.text


def test_files_are_added_only_where_that_is_allowed(tmp_path: Path) -> None:
    with serving(tmp_path, write=("/in",)) as site:
        assert site.form(part(b"one") + END, "/").status == 405
        assert site.raw("/?name=a").status == 405
        assert site.raw("/in/?name=a").status == 201
        pages = [site.send("GET", target, Accept=HTML).text for target in ("/", "/in/")]
    assert ['id="~upload"' in page for page in pages] == [False, True]
    with serving(tmp_path, write=()) as site:
        answer = site.form(part(b"one") + END)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
        assert 'id="~upload"' not in site.send("GET", "/in/", Accept=HTML).text


@pytest.mark.parametrize("accept", [HTML, "application/json"])
def test_a_folder_shows_at_once_what_was_added(accept: str, site: Site) -> None:
    for number in range(20):
        assert site.send("GET", "/in/", Accept=accept).text.count(f"{number}.x") == 0
        assert site.form(part(b"x", f"{number}.x") + END).status == 201
        assert f"{number}.x" in site.send("GET", "/in/", Accept=accept).text
