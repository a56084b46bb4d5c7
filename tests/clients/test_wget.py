"""wget: mirrors, and downloads that were interrupted."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conftest import LARGE
from tests.clients.running import RunningServer, program, run

pytestmark = pytest.mark.slow  # it needs another program

Wget = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def wget() -> Wget:
    """Return a function that runs wget in a directory."""
    command = (program("wget"), "--no-config", "--no-hsts", "--tries=1")
    return lambda directory, *arguments: run(*command, *arguments, cwd=directory)


def test_resume(
    wget: Wget, serve: Callable[..., RunningServer], root: Path, tmp_path: Path
) -> None:
    server = serve(root)
    (tmp_path / "large.bin").write_bytes(LARGE[:500_000])
    for _ in range(2):  # the second time it is complete: 416, which wget accepts
        assert wget(tmp_path, "-c", f"{server.url}large.bin").returncode == 0
        assert (tmp_path / "large.bin").read_bytes() == LARGE
    statuses = [(entry.status, entry.size) for entry in server.stop()]
    assert statuses[0] == (206, len(LARGE) - 500_000)
    assert statuses[1][0] == 416


def test_mirror(wget: Wget, serve: Callable[..., RunningServer], tmp_path: Path) -> None:
    pages = {
        "index.html": '<a href="docs">docs</a> <a href="/elsewhere/">no</a>',
        "docs/index.html": '<a href="a%20b.html">a</a> <a href="deep/">d</a> <a href="../">up</a>',
        "docs/a b.html": '<img src="deep/dot.svg?v=1">',
        "docs/deep/index.html": '<link rel="stylesheet" href="style.css"><a href="none">none</a>',
        "docs/deep/dot.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
        "docs/deep/style.css": "body { background: url(dot.svg) }",
        "elsewhere/index.html": "not requested",
    }
    site, mirror = tmp_path / "site", tmp_path / "mirror"
    for name, text in pages.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    mirror.mkdir()
    server = serve(site)
    completed = wget(mirror, "-r", "-np", "-nH", "-e", "robots=off", f"{server.url}docs/")
    assert completed.returncode == 8  # one link is dead: the server issued an error response
    fetched = {
        path.relative_to(mirror).as_posix(): path.read_text()
        for path in mirror.rglob("*")
        if path.is_file()
    }
    fetched["docs/deep/dot.svg"] = fetched.pop("docs/deep/dot.svg?v=1")
    assert fetched == {name: text for name, text in pages.items() if name.startswith("docs/")}
    assert {e.target for e in server.stop() if e.status != 200} == {"/docs/deep/none"}


def test_timestamping(wget: Wget, serve: Callable[..., RunningServer], tmp_path: Path) -> None:
    site, copy = tmp_path / "site", tmp_path / "copy"
    site.mkdir()
    copy.mkdir()
    (site / "page.html").write_text("first")
    os.utime(site / "page.html", (1_700_000_000, 1_700_000_000))
    server = serve(site)
    for text in "first", "first", "second":
        if text == "second":
            (site / "page.html").write_text(text)
        assert wget(copy, "-N", f"{server.url}page.html").returncode == 0
        assert (copy / "page.html").read_text() == text
    assert [entry.status for entry in server.stop()] == [200, 304, 200]
