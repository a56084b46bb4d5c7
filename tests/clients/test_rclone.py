"""rclone: its http remote reads the pages of folders; test_webdav.py has its webdav remote."""

from collections.abc import Callable
from pathlib import Path

import pytest
import urllib3

from tests.clients.conftest import LARGE
from tests.clients.running import RunningServer, program, run

pytestmark = pytest.mark.slow  # it needs another program

FILES = {"a b.txt": b"first", "docs/large.bin": LARGE, "docs/Größe #1?.txt": b"named", "e.txt": b""}


USUAL = ("--config", "", "--retries", "1", "--low-level-retries", "1")


def rclone(command: str, url: str, *arguments: str | Path) -> str:
    """Run rclone, without a configuration file and for once; return what it prints."""
    completed = run(program("rclone"), *USUAL, "--http-url", url, command, ":http:", *arguments)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with files, one of which is hidden."""
    for name, content in {**FILES, ".hidden": b"not named"}.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "site"


def test_a_tree_is_listed_with_sizes(serve: Callable[..., RunningServer], site: Path) -> None:
    listed = rclone("lsf", serve(site).url, "--recursive", "--files-only", "--format", "ps")
    assert sorted(listed.splitlines()) == sorted(f"{n};{len(data)}" for n, data in FILES.items())


def test_a_tree_is_copied_once(
    serve: Callable[..., RunningServer], site: Path, tmp_path: Path
) -> None:
    server, copy = serve(site), tmp_path / "copy"
    for _ in range(2):
        rclone("copy", server.url, copy)
        copied = {p.relative_to(copy).as_posix(): p for p in copy.rglob("*") if p.is_file()}
        assert {name: path.read_bytes() for name, path in copied.items()} == FILES
    entries = server.stop()
    assert {entry.status for entry in entries} <= {200, 206}
    gets = [entry for entry in entries if entry.method == "GET"]
    assert sum(entry.target.endswith("large.bin") for entry in gets) == 1  # it is there already


@pytest.mark.parametrize("command", ["lsf", "copy"])
def test_webdav_is_refused_clearly(
    serve: Callable[..., RunningServer], site: Path, tmp_path: Path, command: str
) -> None:
    """Without --dav no path has the method PROPFIND: 501 (RFC 9110 sections 9.1, 15.6.2)."""
    server = serve(site, "--write")
    paths = {"lsf": (":webdav:",), "copy": (str(tmp_path / "site/a b.txt"), ":webdav:new/")}
    options = (*USUAL, "--webdav-url", server.url)
    completed = run(program("rclone"), *options, command, *paths[command])
    assert completed.returncode != 0
    assert "501 Not Implemented" in completed.stderr
    assert not (site / "new").exists()
    assert {entry.status for entry in server.stop()} == {501}


def test_rclone_reads_what_was_stored(serve: Callable[..., RunningServer], site: Path) -> None:
    server = serve(site, "--write")
    with urllib3.PoolManager() as pool:
        assert pool.request("PUT", f"{server.url}new/ü.bin?mkdir=1", body=LARGE).status == 201
    assert rclone("lsf", server.url, "--recursive", "--files-only").count("new/ü.bin") == 1
