"""wget: mirrors, and downloads that were broken off."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.clients.conftest import LARGE
from tests.clients.running import Running, program, run


def wget(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run wget in a folder; it must succeed."""
    done = run(program("wget"), "--no-config", "--no-hsts", "--tries=1", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def test_resume(serve: Callable[..., Running], root: Path, tmp_path: Path) -> None:
    server = serve(root)
    (tmp_path / "large.bin").write_bytes(LARGE[:500_000])
    wget(tmp_path, "-c", f"{server.url}large.bin")
    assert (tmp_path / "large.bin").read_bytes() == LARGE
    wget(tmp_path, "-c", f"{server.url}large.bin")  # complete: 416, and wget is content
    assert (tmp_path / "large.bin").read_bytes() == LARGE
    statuses = [(entry.status, entry.octets) for entry in server.stop()]
    assert statuses[0] == (206, len(LARGE) - 500_000)
    assert statuses[1][0] == 416


def test_mirror(serve: Callable[..., Running], tmp_path: Path) -> None:
    pages = {
        "index.html": '<a href="docs">docs</a> <a href="/elsewhere/">no</a>',
        "docs/index.html": '<a href="a%20b.html">a</a> <a href="deep/">d</a> <a href="../">up</a>',
        "docs/a b.html": '<img src="deep/dot.svg?v=1">',
        "docs/deep/index.html": '<link rel="stylesheet" href="style.css"><a href="none">none</a>',
        "docs/deep/dot.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
        "docs/deep/style.css": "body { background: url(dot.svg) }",
        "elsewhere/index.html": "not asked for",
    }
    site, mirror = tmp_path / "site", tmp_path / "mirror"
    for name, text in pages.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    mirror.mkdir()
    server = serve(site)
    command = (program("wget"), "--no-config", "--no-hsts", "-r", "-np", "-nH", "--tries=1")
    done = run(*command, "-e", "robots=off", f"{server.url}docs/", cwd=mirror)
    assert done.returncode == 8  # one link is dead: an error of the server's, says wget's manual
    fetched = {
        path.relative_to(mirror).as_posix(): path.read_text()
        for path in mirror.rglob("*")
        if path.is_file()
    }
    fetched["docs/deep/dot.svg"] = fetched.pop("docs/deep/dot.svg?v=1")
    assert fetched == {name: text for name, text in pages.items() if name.startswith("docs/")}
    assert {e.target for e in server.stop() if e.status != 200} == {"/docs/deep/none"}


def test_timestamping(serve: Callable[..., Running], tmp_path: Path) -> None:
    site, copy = tmp_path / "site", tmp_path / "copy"
    site.mkdir()
    copy.mkdir()
    (site / "page.html").write_text("first")
    os.utime(site / "page.html", (1_700_000_000, 1_700_000_000))
    server = serve(site)
    for text in "first", "first", "second":
        if text == "second":
            (site / "page.html").write_text(text)
        wget(copy, "-N", f"{server.url}page.html")
        assert (copy / "page.html").read_text() == text
    assert [entry.status for entry in server.stop()] == [200, 304, 200]
