"""WebDAV clients: they list folders by PROPFIND, and read files by GET."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aserve.filesystem.visibility import DEFAULT_VISIBILITY
from tests.aserve.handlers.test_hostile_names import HOSTILE
from tests.clients.conftest import LARGE
from tests.clients.running import RunningServer, program, run, skip_missing

pytestmark = pytest.mark.slow  # they need other programs

Serve = Callable[..., RunningServer]

FILES = {
    "a b.txt": b"first",
    "docs/large.bin": LARGE,
    "docs/Größe & #1?%.txt": b"named",
    "docs/index.html": b"an index, which hides nothing here",
    "e.txt": b"",
}
MAX_NAME = 240  # bytes: newer versions add a suffix while they download


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with files, one of which is hidden."""
    for name, content in {**FILES, ".hidden": b"not named"}.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "site"


def rclone(server: RunningServer, command: str, *arguments: str | Path) -> str:
    """Run rclone, without a configuration file and for once; return what it prints."""
    options = ("--config", "", "--retries", "1", "--webdav-url", server.url)
    completed = run(program("rclone"), *options, command, *arguments)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def files_in(directory: Path) -> dict[str, bytes]:
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in paths}


def test_rclone_lists_a_tree(serve: Serve, site: Path) -> None:
    server = serve(site, "--dav")
    listed = rclone(server, "lsf", ":webdav:", "--recursive", "--files-only", "--format", "ps")
    assert sorted(listed.splitlines()) == sorted(f"{n};{len(data)}" for n, data in FILES.items())
    assert {entry.method for entry in server.stop()} == {"PROPFIND"}


def test_rclone_copies_a_tree_once(serve: Serve, site: Path, tmp_path: Path) -> None:
    server, copy = serve(site, "--dav"), tmp_path / "copy"
    for _ in range(2):
        rclone(server, "copy", ":webdav:", copy)
        assert files_in(copy) == FILES
        rclone(server, "check", ":webdav:", copy, "--download")
    gets = [entry.target for entry in server.stop() if entry.method == "GET"]
    assert sum(target.endswith("large.bin") for target in gets) == 3  # one copy, and two checks


def test_rclone_reads_a_part(serve: Serve, site: Path, tmp_path: Path) -> None:
    server = serve(site, "--dav")
    part = ("--offset", "10", "--count", "5")
    (site / "digits.txt").write_text("0123456789abcdefghij")
    assert rclone(server, "cat", *part, ":webdav:digits.txt") == "abcde"
    assert [entry.status for entry in server.stop() if entry.method == "GET"] == [206]


def test_rclone_copies_hostile_names(serve: Serve, tmp_path: Path) -> None:
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    names = [n for n in HOSTILE if DEFAULT_VISIBILITY.is_visible(n) and len(n) <= MAX_NAME]
    for name in names:
        with open(os.fsencode(root) + b"/" + name, "wb") as file:
            file.write(b"bytes of " + name)
    rclone(serve(root, "--dav"), "copy", ":webdav:", copy)
    copied = sorted(path.read_bytes() for path in copy.iterdir())
    assert copied == sorted(b"bytes of " + name for name in names)


def test_rclone_lists_a_folder_of_many_files(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(3_000):
        (tmp_path / "many" / f"{number}.txt").touch()
    listed = rclone(serve(tmp_path / "many", "--dav"), "lsf", ":webdav:")
    assert len(listed.splitlines()) == 3_000


def test_rclone_stores_moves_and_deletes(serve: Serve, site: Path) -> None:
    server = serve(site, "--dav", "--write")
    docs = {name.removeprefix("docs/"): FILES[name] for name in FILES if name.startswith("docs/")}
    for _ in range(2):  # the second time nothing is to be done
        rclone(server, "copy", site / "docs", ":webdav:new/ü")
        assert files_in(site / "new/ü") == docs
    rclone(server, "moveto", ":webdav:new/ü/index.html", ":webdav:moved.html")
    assert (site / "moved.html").read_bytes() == docs["index.html"]
    rclone(server, "purge", ":webdav:new")
    assert not (site / "new").exists()
    assert [entry.method for entry in server.stop()].count("PUT") == len(docs)


def test_cadaver_lists_and_reads(serve: Serve, site: Path, tmp_path: Path) -> None:
    server = serve(site, "--dav")
    commands = tmp_path / "commands"
    commands.write_text(f"open {server.url}\nls\ncd docs\nget large.bin large\npropget large.bin\n")
    completed = run(program("cadaver"), "-r", commands, cwd=tmp_path)
    assert (tmp_path / "large").read_bytes() == LARGE
    words = [line.split() for line in completed.stdout.splitlines()]
    assert ["Coll:", "docs"] in [line[:2] for line in words]
    assert ["DAV:", "getcontentlength", "=", str(len(LARGE))] in words


def test_curl_asks_for_a_folder(serve: Serve, site: Path) -> None:
    curl = (program("curl"), "-qsS", "-X", "PROPFIND", "-H", "Depth: 1")
    found = run(*curl, serve(site, "--dav").url).stdout
    assert re.findall("<D:href>(.*)</D:href>", found) == ["/", "/docs/", "/a%20b.txt", "/e.txt"]


def litmus(server: RunningServer, suite: str, directory: Path) -> str:
    """Return what litmus says in a suite of tests. It keeps logs in a directory."""
    completed = run("env", f"TESTS={suite}", program("litmus"), server.url, cwd=directory)
    assert f"-> running `{suite}'" in completed.stdout
    return completed.stdout


def test_litmus_finds_no_fault(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Its other tests are about COPY, locks, and properties that clients set."""
    server = serve(site, "--dav", "--write")
    for suite in ("basic", "http"):
        assert " 0 failed. 100.0%" in litmus(server, suite, tmp_path)
    properties = litmus(server, "props", tmp_path)
    for name in ("propfind_invalid", "propfind_invalid2", "propfind_d0", "propwformed"):
        assert re.search(rf"{name}\.+ pass", properties), properties


@contextmanager
def mounted(server: RunningServer, directory: Path) -> Iterator[Path]:
    """Mount a site by davfs2. Its lists of names are not asked for: 1.6 fails with new kernels."""
    mount = shutil.which("mount.davfs", path="/usr/sbin:/sbin") or skip_missing(
        "mount.davfs (apt-get install davfs2)"
    )
    if os.geteuid() or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("only root can mount, and where there is /dev/fuse")
    (directory / "conf").write_text("ask_auth 0\nuse_locks 0\n")
    point = directory / "mounted"
    point.mkdir()
    completed = run(mount, server.url, point, "-o", f"ro,conf={directory / 'conf'}")
    if completed.returncode:
        pytest.skip(f"mounting is not allowed here: {completed.stderr}")
    try:
        yield point
    finally:
        run(shutil.which("umount") or "umount", point)


def test_davfs2_mounts_a_site(serve: Serve, site: Path, tmp_path: Path) -> None:
    with mounted(serve(site, "--dav"), tmp_path) as directory:
        found = {name: (directory / name).read_bytes() for name in FILES}
        assert not (directory / ".hidden").exists()
        assert (directory / "docs").is_dir()
    assert found == FILES
