"""Values of the settings about compression."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.config.checks import Errors, choice_errors
from aserve.config.root import paths_of

if TYPE_CHECKING:
    from aserve.config.settings import Settings

COMPRESS = ("auto", "siblings", "off")
COMPRESS_MEMORY = 32 << 20  # bytes
MIN_COMPRESS_MEMORY = 1 << 20

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def compression_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the settings about compression."""
    yield from choice_errors("compress", settings.compress, COMPRESS)
    if settings.compress_memory and settings.compress_memory < MIN_COMPRESS_MEMORY:
        yield "compress_memory", f"must be 0, for none, or at least 1M ({MIN_COMPRESS_MEMORY:,})"
    if settings.compress_folder:
        reason = _folder_error(Path(settings.compress_folder), paths_of(settings.root))
        if reason:
            yield "compress_folder", reason


def _folder_error(folder: Path, roots: Iterable[Path]) -> str:
    """Return what is wrong with a folder for compressed files, "" if nothing is.

    roots: what is served: what is in the folder must not be.
    """
    path = folder.resolve()
    if any(path.is_relative_to(root.resolve()) for root in roots):
        return "must not be in a directory that is served"
    try:
        status = path.stat()
    except FileNotFoundError:
        return "" if os.access(path.parent, os.W_OK | os.X_OK) else "cannot be made there"
    except OSError as error:
        return f"cannot be used: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return "must be a directory"
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
        return "must be a directory that this user alone can write to"
    return ""
