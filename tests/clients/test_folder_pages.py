"""The page of a folder without a graphical browser: wget mirrors it, w3m shows it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.running import RunningServer, program, run

pytestmark = pytest.mark.slow  # it needs other programs

FILES = {
    b"a.txt": b"first",
    b"two words & more?#100%.txt": b"second",
    "grüße-κόσμε.txt".encode(): b"third",
    b'sub/"<b>.txt': b"fourth",
    b"sub/deeper/line\nbreak": b"fifth",
    b"sub/deeper/" + b"x" * 200: b"sixth",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "site" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "site"


def test_wget_mirrors_every_file_and_no_archive(
    site: Path, serve: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = serve(site)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    options = ("--no-config", "--no-hsts", "--tries=1", "--restrict-file-names=nocontrol")
    completed = run(program("wget"), *options, "-r", "-np", "-nH", server.url, cwd=mirror)
    assert completed.returncode == 0, completed.stderr
    found = {
        os.fsencode(path.relative_to(mirror)): path.read_bytes()
        for path in mirror.rglob("*")
        if path.is_file() and not path.name.startswith("index.html")
    }
    assert found == FILES
    assert not [entry.target for entry in server.stop() if "archive=" in entry.target]


def test_a_text_browser_shows_the_folder(site: Path, serve: Callable[..., RunningServer]) -> None:
    completed = run(program("w3m"), "-dump", "-cols", "300", "-O", "UTF-8", f"{serve(site).url}")
    assert completed.returncode == 0, completed.stderr
    shown = completed.stdout.replace("[ ]", "")  # the boxes that select an entry
    lines = [line.split() for line in shown.splitlines()]
    assert ["Name", "↑", "Size", "Modified", "(UTC)"] in lines
    assert [line[0] for line in lines if "B" in line] == ["a.txt", "grüße-κόσμε.txt", "two"]
    assert ["sub/"] in [line[:1] for line in lines]
