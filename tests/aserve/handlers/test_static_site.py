import os
import socket
import struct
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date, parse_date
from aserve.http.messages import FileSlice, Request
from aserve.http.resources import Document, Representation, Validator
from aserve.linux.libc import libc
from aserve.policies.response_memory import MAX_INLINE_SIZE
from aserve.policies.site import Site
from aserve.server.site_factory import build_site

NOW = 1_900_000_000


@pytest.fixture
def get(directory):
    site = Site.of_files(Directory(directory))

    def get(target, method="GET", **headers):
        request = Request(
            method, target, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        return site.handle(request, RequestContext(NOW))

    return get


def body(response):
    return b"".join(
        part.source.read(part.start, part.stop) if isinstance(part, FileSlice) else part
        for part in response.body
    )


def test_files_and_indexes(get):
    assert body(get("/a.txt")) == b"alpha"
    assert body(get("/")) == b"<h1>home</h1>"
    assert body(get("/sub/")) == b"<h1>sub</h1>"


def test_a_directory_is_redirected_to_its_slash_with_its_query(get):
    response = get("/sub?x=1")
    assert response.status == 301
    assert ("Location", "/sub/?x=1") in response.headers


@pytest.mark.parametrize("target", ["/a.txt", "/sub", "/missing", "/%"])
def test_no_header_that_names_a_party_changes_a_response(get, target):
    """A proxy's cache could be poisoned with a Location or a page made of such a header."""
    parties = ("Host", "Cookie", "Origin", "Referer", "X_Forwarded_Host", "X_Forwarded_For")
    named = get(target, **dict.fromkeys(parties, "evil.example"))
    plain = get(target)
    assert (named.status, named.headers, body(named)) == (plain.status, plain.headers, body(plain))


@pytest.mark.parametrize("target", ["/a.txt", "/sub", "/missing", "/%"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_no_other_origin_may_read_a_response(get, target, method):
    """The Fetch standard: without such a header, a browser keeps a response from other sites."""
    response = get(target, method, Origin="http://other.example")
    assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize(
    "target",
    ["/none", "/a.txt/", "/sub/none", "/.env", "/sub/.git/config", "/" + "x" * 300, "/a.txt/b"],
)
def test_not_found(get, directory, target):
    (directory / ".env").write_text("secret")
    assert get(target).status == 404


def test_well_known_files_are_served(get, directory):
    (directory / ".well-known").mkdir()
    (directory / ".well-known" / "security.txt").write_text("call us")
    assert get("/.well-known/security.txt").status == 200


def test_special_files_are_not_found(get, directory):
    os.mkfifo(directory / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(directory / "socket"))
        assert get("/fifo").status == 404
        assert get("/socket").status == 404
    (directory / "device").symlink_to("/dev/zero")
    assert get("/device").status == 404


OPENED = struct.pack("I", 0x20)  # IN_OPEN, inotify(7)


@pytest.mark.parametrize("may_wait", [True, False])
def test_special_files_are_not_opened(directory, may_wait):
    """It has effects: a writer that waits for a FIFO's reader goes on, and its data are lost."""
    fifos = ("fifo", "404.html", "a.txt.gz", "sub/index.html", "README.md", "page.html")
    (directory / "sub" / "index.html").unlink()
    (directory / "link").symlink_to("fifo")
    (directory / "absolute").symlink_to(directory / "fifo")
    site = build_site(Settings(directory, index=("home.html",), urls="github"), Mounts())
    inotify = libc.inotify_init1(os.O_NONBLOCK)
    try:
        for name in fifos:
            os.mkfifo(directory / name)
            assert libc.inotify_add_watch(inotify, os.fsencode(directory / name), 0x20) > 0
        targets = ("/fifo", "/link", "/absolute", "/missing", "/a.txt", "/sub/", "/", "/page")
        archives = ("/?q=f&deep=1", "/?archive=zip", "/?archive=tar")
        for target in (*targets, *archives):
            request = Request("GET", target, headers={"accept-encoding": "gzip"})
            with suppress(BlockingIOError):  # where only a thread may look
                site.handle(request, RequestContext(NOW, may_wait))
        with pytest.raises(BlockingIOError):
            os.read(inotify, 4096)
        os.close(os.open(directory / "fifo", os.O_RDONLY | os.O_NONBLOCK))
        assert OPENED in os.read(inotify, 4096)  # so that would have been seen
    finally:
        os.close(inotify)


@pytest.mark.usefixtures("nobody")
def test_an_unreadable_file_is_forbidden():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a.txt").touch(mode=0)
        site = Site.of_files(Directory(Path(directory)))
        assert site.handle(Request("GET", "/a.txt"), RequestContext(NOW)).status == 403
        assert site.handle(Request("HEAD", "/a.txt"), RequestContext(NOW)).status == 403


def test_a_small_body_is_inlined_and_a_large_one_is_not(get, directory):
    (directory / "small").write_bytes(bytes(MAX_INLINE_SIZE))
    (directory / "larger").write_bytes(bytes(MAX_INLINE_SIZE + 1))
    assert [type(part) for part in get("/small").body] == [bytes]
    assert [type(part) for part in get("/larger").body] == [FileSlice]
    assert [type(part) for part in get("/larger", range="bytes=0-9").body] == [bytes]


def test_head_has_the_headers_of_get_and_no_body(get):
    get_response, head_response = get("/a.txt"), get("/a.txt", "HEAD")
    assert head_response.body == ()
    assert head_response.headers == get_response.headers
    assert head_response.length == get_response.length == 5


def test_a_file_replaced_by_one_of_the_same_size_and_time_has_another_tag(get, directory):
    os.utime(directory / "a.txt", (1, 1))
    before = dict(get("/a.txt").headers)["ETag"]
    (directory / "new").write_text("omega")
    os.utime(directory / "new", (1, 1))
    (directory / "new").replace(directory / "a.txt")
    assert dict(get("/a.txt").headers)["ETag"] != before
    assert get("/a.txt", if_none_match=before).status == 200


def test_the_root_directory_may_be_replaced(get, directory):
    directory.rename(directory.with_name("old"))
    assert get("/a.txt").status == 404
    directory.mkdir()
    (directory / "a.txt").write_text("beta")
    assert body(get("/a.txt")) == b"beta"


@pytest.mark.parametrize("suffix", [".gz", ".br", ".zst"])
def test_a_sibling_that_links_outside_is_ignored(get, directory, suffix):
    directory.with_name("outside").write_text("secret")
    (directory / f"a.txt{suffix}").symlink_to("../outside")
    assert body(get("/a.txt", accept_encoding="gzip, br, zstd")) == b"alpha"


@pytest.mark.parametrize("suffix", [".br", ".zst", ".gz"])
def test_an_empty_sibling_of_a_nonempty_file_is_ignored(get, directory, suffix):
    (directory / f"a.txt{suffix}").touch()
    response = get("/a.txt", accept_encoding="br, zstd, gzip")
    assert body(response) == b"alpha"
    assert "Content-Encoding" not in dict(response.headers)
    assert get("/a.txt", accept_encoding="br, zstd, gzip, identity;q=0").status == 406


def test_an_empty_sibling_of_an_empty_file_is_used(get, directory):
    (directory / "none.css").touch()
    (directory / "none.css.br").touch()
    response = get("/none.css", accept_encoding="br, identity;q=0")
    assert (response.status, body(response)) == (200, b"")


def test_a_sibling_older_than_its_file_is_ignored(get, directory):
    sibling = directory / "a.txt.gz"
    sibling.write_bytes(b"packed")
    assert body(get("/a.txt", accept_encoding="gzip")) == b"packed"
    os.utime(directory / "a.txt", (1_000, 1_000))
    os.utime(sibling, (1, 1))
    assert body(get("/a.txt", accept_encoding="gzip")) == b"alpha"


class Shrinking:
    """A file system with one file that is always shorter when read than its stat says."""

    def find(self, path, *, wait):
        return Document((Representation("text/plain", 9, Validator('"x"', 0), self),))

    def read(self, start, stop):
        return b"short"

    def fileno(self):
        raise OSError


def test_a_small_file_that_keeps_shrinking_gives_503():
    response = Site.of_files(Shrinking()).handle(Request("GET", "/"), RequestContext(NOW))
    assert response.status == 503
    assert ("Retry-After", "1") in response.headers


class Broken:
    """A file system with a bug."""

    def find(self, path, *, wait):
        raise ZeroDivisionError("oops")


def test_an_internal_error_is_one_response_and_one_log_line(caplog):
    response = Site.of_files(Broken()).handle(Request("GET", "/x"), RequestContext(NOW))
    assert response.status == 500
    assert b"oops" not in body(response)
    assert caplog.messages == ["internal error: ZeroDivisionError('oops') while answering '/x'"]
    assert caplog.records[0].exc_info is None


def test_no_file_descriptor_leaks(directory, large_file):
    site = Site.of_files(Directory(Path(directory)))
    (directory / "a.txt.gz").write_bytes(b"packed")
    before = len(os.listdir("/proc/self/fd"))
    for target in ("/a.txt", f"/{large_file.name}", "/none", "/sub", "/sub/", "/a.txt/"):
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            site.handle(
                Request(method, target, headers={"if-none-match": "*"}), RequestContext(NOW)
            )
            site.handle(
                Request(method, target, headers={"range": "bytes=900000000-"}), RequestContext(NOW)
            )
            site.handle(Request(method, target), RequestContext(NOW))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("ranges", "expected_type"), [("bytes=1-2", None), ("bytes=0-0,4-4", "multipart")]
)
def test_if_range_omits_the_representation_headers(get, ranges, expected_type):
    """RFC 9110 15.3.7: no representation headers beyond the required ones."""
    etag = dict(get("/a.txt").headers)["ETag"]
    headers = dict(get("/a.txt", range=ranges, if_range=etag).headers)
    assert headers["ETag"] == etag
    assert not {"Last-Modified", "Content-Encoding"} & set(headers)
    assert (headers.get("Content-Type") or "").partition("/")[0] == (expected_type or "")
    assert "Content-Type" in dict(get("/a.txt", range=ranges).headers)


YEAR_10000 = 253_402_300_800
DATES = [
    0, -1, -9_223_372_037, 9_223_372_036, 9_223_372_037,  # around 2**63 nanoseconds: 1677, 2262
    10_413_792_000, 15_032_385_535, 16_299_260_424,  # 2300; the last of ext4 and of xfs
    -2_147_483_648, -62_135_596_801, YEAR_10000, 1 << 40, 1 << 55, -(1 << 55),
]  # fmt: skip


@pytest.fixture(params=[None, "/dev/shm"], ids=["disk", "tmpfs"])
def dated(request, tmp_path):
    if request.param is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=request.param) as directory:
        yield Path(directory)


@pytest.mark.parametrize("seconds", DATES)
def test_every_date_that_a_file_system_can_store_is_served(dated, seconds):
    (dated / "a.css").write_bytes(b"a" * 99)
    (dated / "a.css.gz").write_bytes(b"gz")
    (dated / "b.css").write_bytes(b"b")
    for name in ("a.css.gz", "b.css"):
        try:
            os.utime(dated / name, ns=(0, seconds * 1_000_000_000 + 999_999_999))
        except OverflowError:  # Python's own utime ends in 2262
            subprocess.run(["touch", "-d", f"@{seconds}", dated / name], check=True)
    site, now = Site.of_files(Directory(dated)), int(os.stat(dated / "a.css").st_ctime) + 9
    for target, coding in (("/a.css", ""), ("/a.css", "gzip"), ("/b.css", "")):
        headers = {"accept-encoding": coding}
        response = site.handle(Request("GET", target, headers=headers), RequestContext(now))
        assert response.status == 200
        sent = dict(response.headers)
        modified = parse_date(sent["Last-Modified"], now)
        assert modified <= now
        stored = os.stat(dated / target[1:]).st_mtime_ns // 1_000_000_000
        if target == "/b.css" and -62_135_596_800 <= stored <= now:
            assert modified == stored
        for name, value, status in (
            ("if-none-match", sent["ETag"], 304),
            ("if-modified-since", sent["Last-Modified"], 304),
            ("if-unmodified-since", sent["Last-Modified"], 200),
        ):
            conditional = Request("GET", target, headers={**headers, name: value})
            assert site.handle(conditional, RequestContext(now)).status == status


@pytest.fixture
def set_at(directory):
    """Give a file a date in the future; return the time at which that was set."""
    os.utime(directory / "a.txt", (NOW, NOW))
    return int(os.stat(directory / "a.txt").st_ctime)


def get_a(site, now, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    response = site.handle(Request("GET", "/a.txt", headers=headers), RequestContext(now))
    return response.status, dict(response.headers).get("Last-Modified", "")


@pytest.mark.parametrize("elapsed", [1, 60, 86_400])
def test_a_future_date_is_replaced_by_the_time_it_was_set(directory, set_at, elapsed):
    site = Site.of_files(Directory(directory))
    _, sent = get_a(site, set_at + 1)
    assert parse_date(sent, NOW) == set_at
    now = set_at + 1 + elapsed
    assert get_a(site, now) == (200, sent)
    assert get_a(site, now, if_unmodified_since=sent) == (200, sent)
    assert get_a(site, now, if_modified_since=sent)[0] == 304
    assert get_a(site, now, if_range=sent, range="bytes=0-0")[0] == 206
    before = format_date(set_at - 1)
    assert get_a(site, now, if_unmodified_since=before)[0] == 412
    assert get_a(site, now, if_modified_since=before)[0] == 200
    assert get_a(site, now, if_range=before, range="bytes=0-0")[0] == 200


@pytest.mark.parametrize("elapsed", [0, 1, 3_600])
def test_after_the_clock_was_set_back_no_date_is_in_the_future(directory, set_at, elapsed):
    site, then = Site.of_files(Directory(directory)), set_at - 100_000
    _, sent = get_a(site, then)
    assert parse_date(sent, NOW) == then
    now = then + elapsed
    assert get_a(site, now, if_unmodified_since=sent)[0] == 200
    assert get_a(site, now, if_modified_since=sent)[0] == 200  # unknown: sending it is safe
    assert get_a(site, now, if_range=sent, range="bytes=0-0")[0] == 200


def test_an_escaped_slash_follows_the_rules_of_a_slash(directory):
    (directory / "@babel" / "core").mkdir(parents=True)
    (directory / "@babel" / "core" / "index.html").write_text("core")
    (directory / "sub" / ".git").mkdir()
    (directory / "sub" / ".git" / "config").write_text("secret")
    plain, site = (
        Site.of_files(Directory(directory)),
        Site.of_files(Directory(directory), decode_slashes=True),
    )

    def status(site, target):
        return site.handle(Request("GET", target), RequestContext(NOW)).status

    assert status(plain, "/@babel%2fcore") == 404
    response = site.handle(Request("GET", "/@babel%2fcore"), RequestContext(NOW))
    assert ("Location", "/@babel/core/") in response.headers
    assert status(site, "/@babel%2Fcore/") == 200
    assert status(site.without_inlined_bodies(), "/@babel%2Fcore%2findex.html") == 200
    for target in ("/sub%2f.git%2fconfig", "/sub/.git%2fconfig", "/sub%2f.git/config"):
        assert status(site, target) == 404
    for target in (
        "/..%2f..%2fetc%2fpasswd",
        "/sub%2f..%2f..%2fetc/passwd",
        "/%2e%2e%2fsite/a.txt",
    ):
        assert status(site, target) == 404
