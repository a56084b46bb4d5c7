"""A report in a file: there as a whole, or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from abench.errors import ParameterError


def check(option: str, path: Path) -> None:
    """Raise ParameterError when `path` cannot be written: before a run, not after it."""
    if path.is_dir():
        raise ParameterError(option, f"{path} is a folder")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise ParameterError(option, f"there is no folder {folder}")
    if not os.access(path if _special(path) else folder, os.W_OK):
        raise ParameterError(option, f"{path} cannot be written")


def save(path: Path, write: Callable[[TextIO], object]) -> None:
    """Let `write` fill the file at `path`, which appears only when it is complete.

    A link is followed; a pipe or a device is written to as it is. Raises OSError.
    """
    if _special(path):
        with path.open("w", encoding="utf-8") as stream:
            write(stream)
        return
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            write(stream)
            stream.flush()
            os.fsync(descriptor)
        unfinished.chmod(0o666 & ~_umask())  # a temporary file is for its owner alone
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _special(path: Path) -> bool:
    return path.exists() and not path.is_file()
