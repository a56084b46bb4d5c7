"""Files are written whole or not at all, beneath the root and nowhere else."""

import os
from pathlib import Path

from aserve.filesystem.writing.new_file import Conflict, Written
from aserve.filesystem.writing.storage import Storage
from aserve.http.request_target import TargetPath


def target(path: str) -> TargetPath:
    return TargetPath(tuple(map(os.fsencode, path.split("/"))), is_directory=False)


def anything(status: os.stat_result | None) -> None:
    """Let every change happen."""


def put(storage: Storage, path: str, data: bytes, conflict: Conflict = "replace") -> Written:
    file = storage.begin(target(path), len(data))
    file.write(data)
    return file.commit(anything, conflict)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.*")}


def test_a_new_file_is_written(tmp_path: Path) -> None:
    written = put(Storage(tmp_path), "a.txt", b"new")
    assert written.is_new
    assert written.path == target("a.txt")
    assert written.status == (tmp_path / "a.txt").stat()
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    (tmp_path / "a.txt").chmod(0o640)
    written = put(Storage(tmp_path), "a.txt", b"new")
    assert not written.is_new
    assert written.status == (tmp_path / "a.txt").stat()
    assert written.status.st_mode & 0o777 == 0o640
    assert contents(tmp_path) == {"a.txt": b"new"}
