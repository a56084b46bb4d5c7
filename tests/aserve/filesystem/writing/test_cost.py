"""What a small upload costs, in system calls, and their order: each is one that a promise needs."""

from pathlib import Path

import pytest

from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import before_call, put

OPENED = ["open", "stat", "open", "fstatvfs", "write"]
"""The directory, what is there, a file without a name, and its bytes."""
REPLACED = [
    *("fstat", "flock", "stat"),  # which directory it is, its lock, and what is there now
    *("flock", "link", "rename"),  # a hidden name, locked against a sweep
]
CLOSED = ["close", "close"]


def calls_of(storage: Storage, path: str, *, at_once: bool = True) -> list[str]:
    with before_call(1 << 30, lambda: None) as names:
        put(storage, path, b"new", at_once=at_once)
    return names


@pytest.mark.parametrize("fsync", [False, True])
def test_a_small_upload(tmp_path: Path, *, fsync: bool) -> None:
    """The file is on the disk before it has its name, and the name before all is told."""
    sync = ["fsync"] if fsync else []
    storage = Storage(tmp_path, limits=WriteLimits(min_free=1), fsync=fsync)
    new = [*OPENED, *sync, "link", "fstat", *sync, *CLOSED]
    assert calls_of(storage, "a") == new
    attributes = ["fstat", "fchmod"]
    replaced = [*OPENED, *attributes, *sync, *REPLACED, "fstat", "flock", *sync, *CLOSED]
    assert calls_of(storage, "a") == replaced


def test_a_small_upload_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    calls = calls_of(Storage(tmp_path, limits=WriteLimits(min_free=1), fsync=False), "folder/a")
    # The root is opened and closed; openat2, between the two, is no function of os.
    assert calls == ["open", "close", *OPENED[1:], "link", "fstat", *CLOSED]


def test_limits_that_are_off_cost_nothing(tmp_path: Path) -> None:
    assert "fstatvfs" not in calls_of(Storage(tmp_path, fsync=False), "a")


def test_an_upload_that_takes_long_opens_its_directory_again(tmp_path: Path) -> None:
    calls = calls_of(Storage(tmp_path, fsync=False), "a", at_once=False)
    assert calls == [
        *("open", "stat", "open", "close", "write"),
        *("open", "stat", "link", "fstat"),
        *CLOSED,
    ]
