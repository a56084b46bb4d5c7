"""Values of the settings about compression."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

COMPRESS = ("auto", "siblings", "off")
COMPRESS_MEMORY = 32 << 20  # bytes
MIN_COMPRESS_MEMORY = 1 << 20

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def folder_error(folder: Path, roots: Iterable[Path]) -> str:
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
