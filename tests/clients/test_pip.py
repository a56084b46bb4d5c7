"""pip: a package index is a directory of static files (the simple repository API)."""

import hashlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.running import RunningServer, run

pytestmark = pytest.mark.slow  # it needs another program


def build_wheel(directory: Path) -> Path:
    """Build the smallest wheel that pip accepts."""
    path = directory / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "ANSWER = 42\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Write a simple index: a directory for each project, with a page of links to its files."""
    root = tmp_path / "index"
    (root / "simple" / "tiny").mkdir(parents=True)
    (root / "files").mkdir()
    path = build_wheel(root / "files")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (root / "simple" / "index.html").write_text('<!doctype html>\n<a href="tiny/">tiny</a>\n')
    (root / "simple" / "tiny" / "index.html").write_text(
        f'<!doctype html>\n<a href="../../files/{path.name}#sha256={digest}">{path.name}</a>\n'
    )
    return root


def test_download(serve: Callable[..., RunningServer], index: Path, tmp_path: Path) -> None:
    server = serve(index)
    quiet = ("--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-input")
    source = ("--index-url", f"{server.url}simple/", "--trusted-host", server.host)
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0")
    completed = run(*pip, *quiet, *source, "--dest", tmp_path / "downloaded", "tiny")
    assert completed.returncode == 0, completed.stderr
    (downloaded,) = (tmp_path / "downloaded").iterdir()
    assert downloaded.read_bytes() == (index / "files" / downloaded.name).read_bytes()
    assert [(entry.target, entry.status) for entry in server.stop()] == [
        ("/simple/tiny/", 200),
        (f"/files/{downloaded.name}", 200),
    ]
