"""?archive= on a directory: what is in it, what the head says, and what is refused."""

import errno
import io
import os
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aserve.filesystem.content_tags import ContentTags
from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.entries import EntryReader
from aserve.filesystem.opened_file import MakeValidator
from aserve.filesystem.writing.digest_cache import DigestCache
from aserve.handlers.archive import formats, handler, manifest
from aserve.handlers.archive.handler import Archives
from aserve.handlers.deferred import Deferred
from aserve.handlers.folders import Folders
from aserve.handlers.handler import RequestContext
from aserve.http.messages import BodyStream, HttpError, Request, Response
from aserve.http.request_target import TargetPath
from aserve.http.resources import DirectoryWithoutIndex, Entry, Resource
from aserve.policies.site import Site
from tests.aserve.handlers.archive.samples import HOSTILE

NOW = 1_900_000_000


class Answer(NamedTuple):
    """A response with its body. headers: by names in lower case."""

    status: int
    headers: dict[str, str]
    length: int | None
    body: bytes

    @property
    def names(self) -> list[str]:
        with zipfile.ZipFile(io.BytesIO(self.body)) as archive:
            assert archive.testzip() is None
            return archive.namelist()

    def content(self, name: str) -> bytes:
        with zipfile.ZipFile(io.BytesIO(self.body)) as archive:
            return archive.read(name)


def read_body(response: Response) -> Iterator[bytes]:
    for part in response.body:
        if isinstance(part, BodyStream):
            yield from iter(part.read, b"")
        else:
            assert isinstance(part, bytes)
            yield part


def site_of(files: FileSystem, archives: Archives) -> Site:
    return Site.of_files(files, folders=Deferred(lambda: Folders(None, archives)))


class Client:
    """Asks a site of a directory."""

    def __init__(
        self, root: Path, make_validator: MakeValidator | None = None, **settings: object
    ) -> None:
        files = Directory(root, make_validator=make_validator)
        self.site = site_of(files, Archives(files, **settings))

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, target, headers=named)
        response = self.site.handle(request, RequestContext(NOW))
        lower = {name.lower(): value for name, value in response.headers}
        return Answer(response.status, lower, response.length, b"".join(read_body(response)))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "photos" / "sub" / "deep").mkdir(parents=True)
    (root / "photos" / "empty").mkdir()
    (root / "photos" / ".git").mkdir()
    for name, content in {
        "photos/a.txt": b"alpha",
        "photos/b c.txt": b"beta",
        "photos/sub/c": b"gamma" * 20_000,
        "photos/sub/deep/d": b"",
        "photos/.hidden": b"secret",
        "photos/.git/config": b"secret",
        "outside": b"not in photos",
    }.items():
        (root / name).write_bytes(content)
    (root / "photos" / "link").symlink_to("a.txt")
    (root / "photos" / "out").symlink_to("/etc/passwd")
    (root / "photos" / "circle").symlink_to(".")
    (root / "photos" / "a.txt").chmod(0o4750)
    os.utime(root / "photos" / "a.txt", ns=(0, 1_700_000_001_250_000_000))
    return root


@pytest.fixture
def client(tree: Path) -> Client:
    return Client(tree)


WHOLE = [
    "photos/",
    "photos/a.txt",
    "photos/b c.txt",
    "photos/circle/",
    "photos/empty/",
    "photos/link",
    "photos/sub/",
    "photos/sub/c",
    "photos/sub/deep/",
    "photos/sub/deep/d",
]


def test_an_archive_has_what_is_visible_beneath_one_folder(client: Client) -> None:
    answer = client.get("/photos/?archive=zip")
    assert answer.status == 200
    assert answer.names == WHOLE
    assert answer.content("photos/sub/c") == b"gamma" * 20_000
    assert answer.content("photos/link") == b"alpha"


def test_members_have_the_modes_and_times_of_their_files(client: Client) -> None:
    with zipfile.ZipFile(io.BytesIO(client.get("/photos/?archive=zip").body)) as archive:
        entry = archive.getinfo("photos/a.txt")
    assert entry.external_attr >> 16 == stat.S_IFREG | 0o750  # and nobody is to become its owner
    assert entry.date_time == (2023, 11, 14, 22, 13, 20)
    with tarfile.open(fileobj=io.BytesIO(client.get("/photos/?archive=tar").body)) as tar:
        member = tar.getmember("photos/a.txt")
    assert (member.mode, member.mtime) == (0o750, 1_700_000_001.25)


DECOMPRESSED = {"tar": "r:", "tar.gz": "r:gz"}


@pytest.mark.parametrize("name", [*DECOMPRESSED, "tar.zst"])
def test_each_form_of_tar_has_the_same_members(client: Client, name: str) -> None:
    answer = client.get(f"/photos/?archive={name}")
    body = answer.body
    if name == "tar.zst":
        body = formats._import_zstd().decompress(body)
    with tarfile.open(fileobj=io.BytesIO(body), mode=DECOMPRESSED.get(name, "r:")) as tar:
        names = [member.name + "/" * member.isdir() for member in tar.getmembers()]
        file = tar.extractfile("photos/sub/c")
        assert file
        assert file.read() == b"gamma" * 20_000
    assert names == client.get("/photos/?archive=zip").names


@pytest.mark.parametrize(
    ("name", "media_type", "ranges"),
    [
        ("zip", "application/zip", "bytes"),
        ("tar", "application/x-tar", "bytes"),
        ("tar.gz", "application/gzip", "none"),
        ("tar.zst", "application/zstd", "none"),
    ],
)
def test_the_head_tells_all_and_is_the_same_for_head(
    client: Client, name: str, media_type: str, ranges: str
) -> None:
    answer = client.get(f"/photos/?archive={name}")
    head = client.get(f"/photos/?archive={name}", "HEAD")
    assert head == answer._replace(body=b"")
    assert answer.length == (len(answer.body) if ranges == "bytes" else None)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["accept-ranges"] == ranges
    assert answer.headers["content-disposition"] == f'attachment; filename="photos.{name}"'
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "last-modified" not in answer.headers  # which not even all its files would tell
    assert client.get(f"/photos/?archive={name}") == answer


def test_the_root_does_not_tell_its_name(client: Client) -> None:
    answer = client.get("/?archive=tar")
    assert answer.headers["content-disposition"] == 'attachment; filename="files.tar"'
    assert client.get("/?archive=zip").names[0] == "files/"


@pytest.mark.parametrize("name", ["zip", "tar"])
@pytest.mark.parametrize("cached", [False, True])
def test_a_download_goes_on_where_it_ended(
    client: Client, tree: Path, name: str, cached: bool
) -> None:
    whole = client.get(f"/photos/?archive={name}")
    for start in (0, 1, 1_000, 90_000, len(whole.body) - 1):
        asked = client if cached else Client(tree)  # another process knows no checksums
        part = asked.get(
            f"/photos/?archive={name}", range=f"bytes={start}-", if_range=whole.headers["etag"]
        )
        assert part.status == 206
        assert part.headers["content-range"] == (
            f"bytes {start}-{len(whole.body) - 1}/{len(whole.body)}"
        )
        assert part.body == whole.body[start:]


def test_several_ranges_and_the_last_bytes(client: Client) -> None:
    whole = client.get("/photos/?archive=zip")
    end = client.get("/photos/?archive=zip", range="bytes=-22")
    assert end.body == whole.body[-22:]
    several = client.get("/photos/?archive=zip", range="bytes=0-3,-5")
    assert several.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert several.length == len(several.body)
    assert b"\r\n\r\nPK\3\4\r\n" in several.body
    size = len(whole.body)
    assert client.get("/photos/?archive=zip", range=f"bytes={size}-").status == 416


@pytest.mark.parametrize("name", ["tar.gz", "tar.zst"])
def test_what_is_compressed_is_always_sent_as_a_whole(client: Client, name: str) -> None:
    answer = client.get(f"/photos/?archive={name}", range="bytes=5-")
    assert answer == client.get(f"/photos/?archive={name}")


CHANGES = {
    "another content": lambda tree: (tree / "photos/a.txt").write_bytes(b"other"),
    "another time": lambda tree: os.utime(tree / "photos/a.txt", ns=(0, 1)),
    "another file of the same name": lambda tree: (
        (tree / "photos/new").write_bytes(b"alpha"),
        os.utime(tree / "photos/new", ns=(0, 1_700_000_001_250_000_000)),
        (tree / "photos/new").replace(tree / "photos/a.txt"),
    ),
    "one file more": lambda tree: (tree / "photos/new").write_bytes(b""),
    "one file less": lambda tree: (tree / "photos/sub/deep/d").unlink(),
    "another name": lambda tree: (tree / "photos/a.txt").rename(tree / "photos/z.txt"),
    "another mode": lambda tree: (tree / "photos/empty").chmod(0o700),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_download_of_what_has_changed_begins_again(
    client: Client, tree: Path, change: object
) -> None:
    before = client.get("/photos/?archive=zip")
    assert client.get("/photos/?archive=zip", if_none_match=before.headers["etag"]).status == 304
    change(tree)  # type: ignore[operator]
    again = client.get("/photos/?archive=zip", range="bytes=100-", if_range=before.headers["etag"])
    assert again.status == 200
    assert again.names[0] == "photos/"
    assert again.headers["etag"] != before.headers["etag"]
    assert client.get("/photos/?archive=zip", if_match=before.headers["etag"]).status == 412


def test_tags_of_contents_change_no_archive(client: Client, tree: Path) -> None:
    by_content = Client(tree, ContentTags(DigestCache()))
    for form in ("zip", "tar"):
        target = f"/photos/?archive={form}"
        assert by_content.get(target) == client.get(target)


def test_formats_and_selections_have_entity_tags_of_their_own(client: Client) -> None:
    queries = ["zip", "tar", "tar.gz", "tar.zst", "zip&name=a.txt", "zip&name=sub"]
    tags = [client.get(f"/photos/?archive={query}").headers["etag"] for query in queries]
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a.txt", ["photos/", "photos/a.txt"]),
        ("name=sub&name=a.txt&name=a.txt", [*WHOLE[:2], *WHOLE[6:]]),
        ("name=b+c.txt", ["photos/", "photos/b c.txt"]),
        ("name=b%20c.txt", ["photos/", "photos/b c.txt"]),
        ("name=empty", ["photos/", "photos/empty/"]),
    ],
)
def test_a_selection_has_the_names_that_are_asked_for(
    client: Client, query: str, names: list[str]
) -> None:
    assert client.get(f"/photos/?{query}&archive=zip").names == names


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("archive=rar", 400), ("archive=", 400), ("archive", 400), ("archive=ZIP", 400)),
        *(("archive=zip&name=", 400), ("archive=zip&name=.", 400), ("archive=zip&name=..", 400)),
        *(("archive=zip&name=sub/c", 400), ("archive=zip&name=sub%2Fc", 400)),
        *(("archive=zip&name=%2Fetc", 400), ("archive=zip&name=a%00", 400)),
        *(("archive=zip&name=none", 404), ("archive=zip&name=a.txt&name=none", 404)),
        *(("archive=zip&name=.hidden", 404), ("archive=zip&name=.git", 404)),
        *(("archive=zip&name=out", 404), ("archive=zip&name=%FF", 404)),
        *(("archives=zip", 404), ("q=archive", 404), ("", 404)),
    ],
)
def test_what_is_no_archive(client: Client, query: str, status: int) -> None:
    answer = client.get(f"/photos/?{query}")
    assert answer.status == status
    if status == 400:
        parameter = "name" if "name" in query else "archive"
        assert f"parameter {parameter} ".encode() in answer.body


def test_a_directory_without_its_slash_keeps_the_query(client: Client) -> None:
    answer = client.get("/photos?archive=zip&name=a.txt")
    assert answer.headers["location"] == "/photos/?archive=zip&name=a.txt"
    assert client.get("/photos/a.txt?archive=zip").body == b"alpha"
    assert client.get("/none/?archive=zip").status == 404
    assert client.get("/photos/.git/?archive=zip").status == 404


def test_only_what_is_on_offer_is_made(tree: Path) -> None:
    client = Client(tree, formats=("tar", "zip"))
    refused = client.get("/photos/?archive=tar.gz")
    assert (refused.status, b"There is tar, zip." in refused.body) == (403, True)
    off = Client(tree, formats=()).get("/photos/?archive=zip")
    assert (off.status, b"There are no archives here." in off.body) == (403, True)


def test_zstandard_is_offered_only_where_python_has_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "is_available", lambda name: name != "tar.zst")
    assert Archives(Directory(tree)).formats == ("zip", "tar", "tar.gz")
    answer = Client(tree).get("/photos/?archive=tar.zst")
    assert answer.status == 403
    assert b"needs Python 3.14, or the package backports.zstd" in answer.body


def test_a_python_without_zstandard_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda _name: None)
    assert not formats.is_available.__wrapped__("tar.zst")
    assert formats.is_available.__wrapped__("zip")


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"max_files": 8}, 413),
        ({"max_bytes": 100_000}, 413),
        ({"max_files": 1_000, "max_bytes": 10 << 20}, 200),
    ],
)
def test_an_archive_that_is_too_large_is_refused_before_it_begins(
    tree: Path, limits: dict[str, int], status: int
) -> None:
    client = Client(tree, **limits)
    for method in ("GET", "HEAD"):
        answer = client.get("/photos/?archive=zip", method)
        assert answer.status == status
    assert client.get("/photos/?archive=zip&name=a.txt").status == 200


class EndlessFiles:
    """A directory with files without end, some of which may not be read."""

    def __init__(self, entries: Sequence[Entry] = (), unreadable: Sequence[bytes] = ()) -> None:
        self._entries = entries
        self._unreadable = unreadable
        self.walked = 0

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        if path.is_directory:
            return DirectoryWithoutIndex()
        if path.segments[-1] in self._unreadable:
            raise HttpError(403, "This file may not be read.")
        raise HttpError(404, "Nothing is here.")

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        if path.segments and path.segments[-1] in self._unreadable:
            raise HttpError(403, "This file may not be read.")
        return self._entries

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        if self._entries:
            yield from (((entry.name,), entry) for entry in self._entries)
            return
        while True:
            self.walked += 1
            yield (b"%d" % self.walked,), Entry(b"", False, 1 << 20, 0, mode=0o644)


def get(files: EndlessFiles, target: str, **limits: int) -> Answer:
    archives = Archives(files, **limits)
    site = site_of(files, archives)
    response = site.handle(Request("GET", target), RequestContext(NOW))
    headers = {name.lower(): value for name, value in response.headers}
    return Answer(response.status, headers, response.length, b"".join(read_body(response)))


def test_the_walk_ends_at_the_limit() -> None:
    for limits, most in (({"max_files": 1_000}, 1_128), ({"max_bytes": 10 << 20}, 128)):
        files = EndlessFiles()
        answer = get(files, "/?archive=zip", **limits)
        assert answer.status == 413
        assert files.walked <= most  # names are taken in batches of 128
        assert f"{next(iter(limits.values())):,}".encode() in answer.body


def test_what_may_not_be_read_is_named_in_the_archive() -> None:
    """Nothing is missing in silence, and one file of another user does not cost the others."""
    entries = [
        Entry(b"UNREADABLE.txt", False, 0, 0, mode=0o100644),
        Entry(b"mine", False, 0, 0, mode=0o100600),
        Entry(b"theirs", True, 0, 0, mode=0o40700),
    ]
    files = EndlessFiles(entries, [b"mine", b"theirs"])
    answer = get(files, "/?archive=zip&name=UNREADABLE.txt&name=mine&name=theirs")
    note = "files/_UNREADABLE.txt"
    assert answer.names == ["files/", "files/UNREADABLE.txt", note]
    assert answer.content(note).splitlines()[2:] == [b"files/mine", b"files/theirs"]
    assert answer.length == len(answer.body)


@pytest.mark.usefixtures("nobody")
def test_real_files_and_directories_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("closed", "half", "open"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(b"content")
        for name in ("mine", "others"):
            (root / name).write_bytes(b"content")
        (root / "mine").chmod(0o600)
        (root / "others").chmod(0)
        (root / "closed").chmod(0)
        (root / "half").chmod(0o444)  # whose names can be read, and nothing else
        answer = Client(root).get("/?archive=zip")
        inside = ["files/open/", "files/open/file"]
        assert answer.names == ["files/", "files/mine", *inside, "files/UNREADABLE.txt"]
        noted = answer.content("files/UNREADABLE.txt").splitlines()[2:]
        assert noted == [b"files/closed", b"files/half", b"files/others"]
        assert Client(root).get("/?archive=zip&name=closed").status == 403
        (root / "closed").chmod(0o700)
        (root / "half").chmod(0o700)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_directory_that_cannot_be_read_now_is_not_missing_in_silence(
    client: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    open_directory = EntryReader.open

    def fail_below(reader: EntryReader, path: bytes) -> int:
        if path == b"photos/sub":
            raise OSError(number, os.strerror(number))
        return open_directory(reader, path)

    monkeypatch.setattr(EntryReader, "open", fail_below)
    assert client.get("/photos/?archive=zip").status >= 500


def test_where_nothing_may_be_read_there_is_no_archive() -> None:
    entries = [Entry(b"mine", False, 0, 0, mode=0o100600)]
    answer = get(EndlessFiles(entries, [b"mine"]), "/?archive=zip")
    assert answer.status == 403


def test_a_note_is_not_longer_than_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_MAX_NOTED", 3)
    names = [b"%d" % n for n in range(5)]
    entries = [Entry(name, False, 0, 0, mode=0o100600) for name in names]
    entries.append(Entry(b"read", False, 0, 0, mode=0o100644))
    answer = get(EndlessFiles(entries, names), "/?archive=zip")
    lines = answer.content("files/UNREADABLE.txt").splitlines()
    assert lines[2:] == [b"files/0", b"files/1", b"files/2", b"... and 2 more"]


def test_an_archive_is_never_made_on_a_thread_that_must_not_wait(client: Client) -> None:
    request = Request("GET", "/photos/?archive=zip")
    with pytest.raises(BlockingIOError):
        client.site.handle(request, RequestContext(NOW, may_wait=False))


def test_many_small_files_are_one_piece(tmp_path: Path) -> None:
    """For each piece, an event loop waits for a thread."""
    for n in range(100):
        (tmp_path / f"{n}").write_bytes(b"small")
    archives = Archives(Directory(tmp_path))
    for name in ("zip", "tar"):
        path = TargetPath((), is_directory=True, query=f"?archive={name}")
        response = archives.respond(Request("GET", "/"), RequestContext(NOW), path)
        assert len(list(read_body(response))) == 1


def test_archives_in_progress_hold_a_bounded_number_of_members(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_MAX_MEMBERS", 2 * len(WHOLE))
    request, context = Request("GET", "/photos/?archive=zip"), RequestContext(NOW)
    first, second = (client.site.handle(request, context) for _ in range(2))
    refused = client.site.handle(request, context)
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (503, "1")
    assert client.get("/photos/?archive=zip", "HEAD").status == 200  # which holds nothing
    first.body[0].close()
    del first
    assert client.get("/photos/?archive=zip").status == 200
    second.body[0].close()


def test_one_archive_alone_may_have_any_number_of_members(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_MAX_MEMBERS", 1)
    for _ in range(2):
        assert client.get("/photos/?archive=zip").status == 200


def test_an_archive_is_not_cached(client: Client) -> None:
    response = client.site.handle(Request("GET", "/photos/?archive=zip"), RequestContext(NOW))
    assert response.path == b""
    response.body[0].close()


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_of_a_file_can_be_archived(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(tmp_path) + b"/" + name
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("there are no such names here")
    Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"content")
    files = Directory(tmp_path)
    site = site_of(files, Archives(files))
    target = TargetPath((name,), is_directory=True).location()
    selection = TargetPath((name,), is_directory=False).location()[1:].replace("&", "%26")
    query = f"?archive=zip&name={selection.replace('+', '%2B').replace(';', '%3B')}"
    response = site.handle(Request("GET", target + query), RequestContext(NOW))
    if name.startswith(b".") or name.endswith(b"~"):
        assert response.status == 404
        return
    body = b"".join(read_body(response))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        _, entry = archive.infolist()
        assert archive.read(entry) == b"content"
    (value,) = [value for key, value in response.headers if key == "Content-Disposition"]
    assert value.isascii()
    assert value.isprintable()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_a_compressed_archive_is_one_stream(content: bytes) -> None:
    pieces = [content[position : position + 7] for position in range(0, len(content), 7)]
    compressed = b"".join(formats.compress(pieces, formats._gzip()))
    assert zlib.decompress(compressed, wbits=31) == content
    zstd = formats._import_zstd()
    assert zstd.decompress(b"".join(formats.compress(pieces, formats._zstd()))) == content
