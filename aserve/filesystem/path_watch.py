"""Watches every name that decides where a path leads, symbolic links included."""

import errno
import os

from aserve.linux.inotify import SELF, Inotify, WatchedName

_MAX_LINKS = 40  # as the kernel: path_resolution(7)


def watch_names(path: bytes, inotify: Inotify, names: set[WatchedName], devices: set[int]) -> None:
    """Watch every name on an absolute path, and those on the paths of its symbolic links.

    What is watched is added to names, and the devices of its directories to devices, as far as it
    goes. Raises OSError, also where links form a loop.
    """
    pending = path.split(b"/")[::-1]
    directory = b"/"
    links = 0
    while pending:
        name = pending.pop()
        if name in {b"", b"."}:
            continue
        if name == b"..":
            directory = os.path.dirname(directory.rstrip(b"/")) or b"/"
            continue
        # A directory is watched, and only then looked into, so that no change is missed in between.
        watch = inotify.add_directory(directory)
        names |= {(watch, name), (watch, SELF)}
        devices.add(os.stat(directory).st_dev)
        step = directory.rstrip(b"/") + b"/" + name
        target = _link_target(step)
        if target is None:
            directory = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        pending += target.split(b"/")[::-1]
        directory = b"/" if target.startswith(b"/") else directory


def _link_target(path: bytes) -> bytes | None:
    """Return the target of a symbolic link; None for anything else."""
    try:
        return os.readlink(path)
    except OSError:  # EINVAL: no link; ENOENT: no file, which is watched as well
        return None
