"""pip and twine: a package index is a directory of files, to which a form adds others."""

import hashlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.running import RunningServer, run

pytestmark = pytest.mark.slow  # it needs another program


QUIET = ("--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-input")


def build_wheel(directory: Path, description: str = "") -> Path:
    """Build the smallest wheel that pip accepts."""
    path = directory / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "ANSWER = 42\n")
        archive.writestr(
            "tiny-1.0.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n\n{description}",
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
    source = ("--index-url", f"{server.url}simple/", "--trusted-host", server.host)
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0")
    completed = run(*pip, *QUIET, *source, "--dest", tmp_path / "downloaded", "tiny")
    assert completed.returncode == 0, completed.stderr
    (downloaded,) = (tmp_path / "downloaded").iterdir()
    assert downloaded.read_bytes() == (index / "files" / downloaded.name).read_bytes()
    assert [(entry.target, entry.status) for entry in server.stop()] == [
        ("/simple/tiny/", 200),
        (f"/files/{downloaded.name}", 200),
    ]


def test_twine_adds_to_a_folder_that_pip_reads(
    serve: Callable[..., RunningServer], tmp_path: Path
) -> None:
    """As to an index: a form with all metadata, the whole README too, and the file in `content`."""
    for name in ("packages", "dist"):
        (tmp_path / name).mkdir()
    wheel = build_wheel(tmp_path / "dist", "A long README.\n" * 20_000)
    server = serve(tmp_path / "packages", "--write=add", "--min-free=0")
    twine = (sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar")
    login = ("--username", "any", "--password", "any", "--config-file", tmp_path / "none")
    upload = (*twine, *login, "--repository-url", server.url, wheel)
    first, second = run(*upload), run(*upload)
    assert first.returncode == 0, first.stdout
    # What is there is not replaced, and twine tells that.
    assert (second.returncode, "409 Conflict" in second.stdout) == (1, True), second.stdout
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-index", "--retries", "0")
    source = ("--find-links", server.url, "--trusted-host", server.host)
    completed = run(*pip, *QUIET, *source, "--dest", tmp_path / "downloaded", "tiny")
    assert completed.returncode == 0, completed.stderr
    (downloaded,) = (tmp_path / "downloaded").iterdir()
    assert downloaded.read_bytes() == wheel.read_bytes()
    assert [path.name for path in (tmp_path / "packages").iterdir()] == [wheel.name]
