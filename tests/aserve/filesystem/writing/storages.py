"""What the tests of this folder share: changes of a folder, and steps between system calls."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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


def put(
    storage: Storage,
    path: str,
    data: bytes,
    conflict: Conflict = "replace",
    *,
    at_once: bool = False,
) -> Written:
    file = storage.begin(target(path), len(data), at_once=at_once)
    file.write(data)
    return file.commit(anything, conflict)


def contents(root: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder, hidden ones, too, by their paths."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@contextmanager
def before_call(number: int, action: Callable[[], None]) -> Iterator[list[str]]:
    """Run an action before the call of this number, from 0, to one of CALLS.

    If it raises OSError, the call is not made. If it raises anything else, no further call is made
    either, as after a kill: that of no handler, and of no finally. Yields the calls so far.
    """
    names: list[str] = []
    killed: list[BaseException] = []

    def on_event(_frame: FrameType, event: str, function: object) -> None:
        name = getattr(function, "__name__", "")
        if event != "c_call" or name not in CALLS:
            return
        if killed:
            raise killed[0]
        names.append(name)
        if len(names) == number + 1:
            sys.setprofile(None)  # the action's own calls do not count
            try:
                action()
            except BaseException as error:
                if not isinstance(error, OSError):
                    killed.append(error)
                raise
            finally:
                sys.setprofile(on_event)

    sys.setprofile(on_event)
    try:
        yield names
    finally:
        sys.setprofile(None)


class Killed(BaseException):
    """As SIGKILL: what comes after it does not happen."""


def kill() -> None:
    raise Killed


@contextmanager
def killed_before_call(number: int, root: Path) -> Iterator[list[str]]:
    """Make no call from this number on, and close what is open below root then.

    Yields the calls so far.
    """
    with before_call(number, kill) as names, suppress(Killed):
        yield names
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of listdir itself
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(root)):
                os.close(int(descriptor))
