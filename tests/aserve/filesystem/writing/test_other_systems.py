"""Kernels and file systems that lack something: an old one, a container's filter, NFS, FUSE."""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from aserve.filesystem.writing import errors, places, temporary, tree
from aserve.filesystem.writing.storage import Storage
from aserve.linux import renameat2
from aserve.linux.directory_entries import TYPE_UNKNOWN
from tests.aserve.filesystem.writing.storages import (
    anything,
    before_call,
    contents,
    put,
    target,
)


def failing(number: int) -> Callable[..., Any]:
    """Return a function that fails as a system call does."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def no_openat2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "openat2", lambda *_: -1)
    monkeypatch.setattr(places, "get_errno", lambda: errno.ENOSYS)


def test_a_call_that_a_signal_interrupts_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [errno.EINTR, errno.EINTR, errno.ENOSYS]
    monkeypatch.setattr(places, "openat2", lambda *_: -1)
    monkeypatch.setattr(places, "get_errno", lambda: numbers.pop(0))
    (tmp_path / "folder").mkdir()
    assert Storage(tmp_path).status(target("folder/a")) is None
    assert numbers == []


@pytest.mark.usefixtures("no_openat2")
def test_without_openat2(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    storage = Storage(tmp_path)
    put(storage, "a/b/c", b"new")
    put(storage, "d", b"new")
    for path in ("link/b/c", "a/none/c", "d/c"):
        with pytest.raises((errors.ParentMissing, errors.IsLink)):
            storage.begin(target(path))
    storage.delete(target("a"), anything, tree=True)
    assert contents(tmp_path) == {"d": b"new"}


@pytest.mark.usefixtures("no_openat2")
def test_a_link_takes_the_place_of_a_directory_without_openat2(tmp_path: Path) -> None:
    for number in count():
        root, outside = tmp_path / f"{number}", tmp_path / f"{number}-outside"
        (root / "a/b").mkdir(parents=True)
        (outside / "b").mkdir(parents=True)

        def swap(root: Path = root, outside: Path = outside) -> None:
            (root / "a").rename(root / "moved")
            (root / "a").symlink_to(outside)

        with before_call(number, swap) as calls, suppress(errors.WriteError):
            put(Storage(root), "a/b/c", b"new")
        assert contents(outside) == {}
        if len(calls) <= number:
            break
    assert contents(root) == {"a/b/c": b"new"}


@pytest.mark.parametrize("is_known", [False, True])
def test_without_renameat2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known: bool
) -> None:
    """is_known: by the C library, and not by the file system."""

    class Library:
        pass

    library = Library()
    if is_known:
        library.renameat2 = lambda *_: -1  # type: ignore[attr-defined]
    monkeypatch.setattr(renameat2, "libc", library)
    monkeypatch.setattr(renameat2, "check", failing(errno.EINVAL))
    monkeypatch.setattr(temporary, "_open_unnamed", lambda _directory: -1)
    storage = Storage(tmp_path)
    put(storage, "a", b"1")
    put(storage, "b", b"2")
    with pytest.raises(errors.Exists):
        storage.move(target("a"), target("b"), anything)
    storage.move(target("a"), target("c"), anything)
    put(storage, "c", b"3", "rename")
    assert contents(tmp_path) == {"b": b"2", "c": b"1", "c (1)": b"3"}


def test_another_error_of_renameat2_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(Storage(tmp_path), "a", b"1")
    monkeypatch.setattr(renameat2, "check", failing(errno.EXDEV))
    with pytest.raises(errors.NotWritable, match="another disk"):
        Storage(tmp_path).move(target("a"), target("b"), anything)


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EOPNOTSUPP, None), (errno.EROFS, errors.NotWritable)]
)
def test_without_unnamed_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[Exception] | None,
) -> None:
    call = os.open

    def open_named(path: bytes, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return call(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", open_named)
    if error:
        with pytest.raises(error):
            put(Storage(tmp_path), "a", b"new")
    else:
        put(Storage(tmp_path), "a", b"old")
        put(Storage(tmp_path), "a", b"new")
        assert contents(tmp_path) == {"a": b"new"}


def test_without_the_types_of_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some file systems read their directories; the last name has gone meanwhile."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"")
    (tmp_path / "a/link").symlink_to("b")
    read = tree.read_entries

    def read_untyped(descriptor: int, max_size: int) -> dict[bytes, int]:
        names = read(descriptor, max_size) or {}
        return dict.fromkeys([*names, b"gone"], TYPE_UNKNOWN)

    monkeypatch.setattr(tree, "read_entries", read_untyped)
    deleted = Storage(tmp_path).delete(target("a"), anything, tree=True)
    assert deleted.removed == 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EINVAL, None), (errno.EIO, errors.StorageFailed)]
)
def test_directories_that_cannot_be_synchronized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception] | None
) -> None:
    """EINVAL says that there is nothing to be done, EIO that it failed."""
    sync = os.fsync

    def sync_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", sync_files)
    with pytest.raises(error) if error else nullcontext():
        put(Storage(tmp_path), "a", b"new")


def test_a_lock_that_is_released_in_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(Storage(tmp_path), "a", b"old")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            os.close(descriptor)

    monkeypatch.setattr(time, "sleep", sleep)
    put(Storage(tmp_path), "a", b"new")
    assert pauses == [0.0002, 0.0004, 0.0008]
