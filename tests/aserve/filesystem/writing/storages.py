"""What the tests of this folder share: changes of a folder, and steps between system calls."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from aserve.filesystem.writing.new_file import Conflict, Written
from aserve.filesystem.writing.storage import Storage
from aserve.http.request_target import TargetPath

CALLS = frozenset(
    {
        *("open", "close", "dup", "stat", "fstat", "fstatvfs", "write", "fsync", "flock"),
        *("fchmod", "fchown", "link", "rename", "unlink", "rmdir", "mkdir"),
    }
)
"""System calls by their names in os and fcntl."""


def target(path: str) -> TargetPath:
    return TargetPath(tuple(map(os.fsencode, path.split("/"))), is_directory=False)


def anything(_status: os.stat_result | None) -> None:
    """Let every change happen."""


def put(storage: Storage, path: str, data: bytes, conflict: Conflict = "replace") -> Written:
    file = storage.begin(target(path), len(data))
    file.write(data)
    return file.commit(anything, conflict)


def contents(root: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, hidden ones, too, by their paths."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@contextmanager
def before_call(number: int, action: Callable[[], None]) -> Iterator[list[str]]:
    """Run an action before the call of this number, from 0, to one of CALLS.

    If it raises, the call is not made. Yields the names of the calls so far.
    """
    names: list[str] = []

    def on_event(_frame: FrameType, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name in CALLS:
            names.append(name)
            if len(names) == number + 1:
                sys.setprofile(None)  # the action's own calls do not count
                try:
                    action()
                finally:
                    sys.setprofile(on_event)

    sys.setprofile(on_event)
    try:
        yield names
    finally:
        sys.setprofile(None)
