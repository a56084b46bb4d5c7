"""Archives, downloaded and opened by the programs that people have for them."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aserve.handlers.archive.layout import Member
from aserve.handlers.archive.tar_writer import TarLayout
from aserve.handlers.archive.zip_writer import ZipLayout
from tests.aserve.handlers.archive.samples import HOSTILE, Holes, read
from tests.clients.conftest import LARGE
from tests.clients.running import RunningServer, program, run, serving

pytestmark = pytest.mark.slow  # they need other programs

GIB = 1 << 30
CONTENTS = {
    "photos/a.txt": b"alpha",
    "photos/empty": b"",
    "photos/sub/\u00fc \U0001f4c1.txt": b"text",
    "photos/sub/" + "n" * 200: b"a long name",
    "photos/sub/large": LARGE,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("archives") / "root"
    (root / "photos" / "sub").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (root / name).write_bytes(content)
        os.utime(root / name, ns=(0, 1_700_000_000_123_456_789))
    (root / "photos" / "a.txt").chmod(0o750)
    return root


@pytest.fixture(scope="module")
def archives(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunningServer:
    with serving(folder, tmp_path_factory.mktemp("log") / "access.log") as running:
        yield running


OPENERS = {
    "unzip": ("zip", ("unzip", "-q", "ARCHIVE")),
    "7z, zip": ("zip", ("7z", "x", "-y", "ARCHIVE")),
    "7z, tar": ("tar", ("7z", "x", "-y", "ARCHIVE")),
    "bsdtar, zip": ("zip", ("bsdtar", "-xpf", "ARCHIVE")),
    "bsdtar, a zip from a pipe": ("zip", ("sh", "-c", "bsdtar -xf - <ARCHIVE")),
    "bsdtar, tar": ("tar", ("bsdtar", "-xpf", "ARCHIVE")),
    "bsdtar, tar.gz": ("tar.gz", ("bsdtar", "-xpf", "ARCHIVE")),
    "tar": ("tar", ("tar", "-xpf", "ARCHIVE")),
    "tar.gz": ("tar.gz", ("tar", "-xpf", "ARCHIVE")),
    "tar.zst": ("tar.zst", ("tar", "--zstd", "-xpf", "ARCHIVE")),
}
WITHOUT_MODES = {"7z, tar", "bsdtar, a zip from a pipe"}
"""Modes are at the end of a ZIP archive, and an old 7z ignores those of tar."""


@pytest.mark.parametrize("opener", OPENERS)
def test_programs_extract_what_was_archived(
    archives: RunningServer, folder: Path, tmp_path: Path, opener: str
) -> None:
    form, command = OPENERS[opener]
    (tmp_path / "archive").write_bytes(archives.get(f"photos/?archive={form}"))
    path = program(command[0])
    arguments = [one.replace("ARCHIVE", "archive") for one in command[1:]]
    completed = run(path, *arguments, cwd=tmp_path)
    assert (completed.returncode, completed.stderr) == (0, "")
    for name, content in CONTENTS.items():
        assert (tmp_path / name).read_bytes() == content
        assert int((tmp_path / name).stat().st_mtime) == 1_700_000_000
    if opener not in WITHOUT_MODES:
        assert (tmp_path / "photos" / "a.txt").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("test", [("unzip", "-tq"), ("7z", "t"), ("bsdtar", "-tf")])
def test_programs_find_no_fault_in_hostile_names(tmp_path: Path, test: tuple[str, str]) -> None:
    members = [Member(b"d/%d/" % n + name, 0) for n, name in enumerate(HOSTILE)]
    layout = ZipLayout(members)
    (tmp_path / "archive.zip").write_bytes(read(layout, Holes(), 0, layout.length))
    completed = run(program(test[0]), test[1], "archive.zip", cwd=tmp_path)
    assert completed.returncode == 0
    with zipfile.ZipFile(tmp_path / "archive.zip") as archive:
        assert len(archive.namelist()) == len(HOSTILE)


@pytest.mark.parametrize("sizes", [(5 * GIB, 3), (3 * GIB, 3 * GIB, 7)], ids=str)
@pytest.mark.parametrize("command", [("unzip", "-l"), ("7z", "l"), ("bsdtar", "-tvf")])
@pytest.mark.parametrize("make_layout", [ZipLayout, TarLayout])
def test_programs_list_what_is_larger_than_32_bits(
    tmp_path: Path,
    make_layout: type[ZipLayout | TarLayout],
    command: tuple[str, str],
    sizes: tuple[int, ...],
) -> None:
    if make_layout is TarLayout and command[0] == "unzip":
        command = ("tar", "-tvf")
    members = [Member(b"d/%d" % n, size, 10**18) for n, size in enumerate(sizes)]
    path = tmp_path / "archive"
    _write_sparse(path, make_layout(members), sizes)
    completed = run(program(command[0]), command[1], path)
    assert (completed.returncode, completed.stderr) == (0, "")
    lines = completed.stdout.splitlines()
    for n, size in enumerate(sizes):
        assert any(f"d/{n}" in line and f"{size}" in line for line in lines)


def _write_sparse(path: Path, layout: ZipLayout | TarLayout, sizes: tuple[int, ...]) -> None:
    """Write an archive of holes as a file with holes: only what is around the contents."""
    with path.open("wb") as file:
        file.truncate(layout.length)
        position = 0
        for size in (*sizes, 0):
            stop = min(position + 4_096, layout.length)
            file.seek(position)
            file.write(read(layout, Holes(), position, stop))
            position += max(0, size - 2_048)
        start = max(0, layout.length - 8_192)
        file.seek(start)
        file.write(read(layout, Holes(), start, layout.length))


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("size", [1, 100, 700_000, len(LARGE)])
def test_curl_resumes_an_archive(
    archives: RunningServer, tmp_path: Path, form: str, size: int
) -> None:
    url = f"photos/?archive={form}"
    whole = archives.get(url)
    (tmp_path / "archive").write_bytes(whole[:size])
    curl = (program("curl"), "-q", "-sS", "-m", "20", "-w", "%{http_code} %{size_download}")
    completed = run(*curl, "-C", "-", "-o", "archive", archives.url + url, cwd=tmp_path)
    assert completed.stdout == f"206 {len(whole) - size}"
    assert (tmp_path / "archive").read_bytes() == whole


def test_curl_saves_an_archive_under_its_name(archives: RunningServer, tmp_path: Path) -> None:
    curl = (program("curl"), "-q", "-sS", "-m", "20", "-OJ")
    assert run(*curl, f"{archives.url}photos/?archive=zip", cwd=tmp_path).returncode == 0
    with zipfile.ZipFile(tmp_path / "photos.zip") as archive:
        assert archive.testzip() is None


def test_wget_goes_on_with_an_archive(
    serve: Callable[..., RunningServer], folder: Path, tmp_path: Path
) -> None:
    server = serve(folder)
    whole = server.get("photos/?archive=tar")
    (tmp_path / "photos.tar").write_bytes(whole[:500_000])
    wget = (program("wget"), "--no-config", "--no-hsts", "--tries=1", "-q", "-c")
    url = f"{server.url}photos/?archive=tar"
    assert run(*wget, "-O", "photos.tar", url, cwd=tmp_path).returncode == 0
    with tarfile.open(tmp_path / "photos.tar") as tar:
        assert len(tar.getmembers()) == len(CONTENTS) + 2
