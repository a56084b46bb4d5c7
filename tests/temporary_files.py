"""Where tests make files: it decides how long the kernel takes for each, 0.02 ms or 0.8.

A suite makes and deletes 30,000 files in two minutes. ext4 gives a new file the first free inode
near its directory, but passes one by one over all that were freed within the last minutes, and to
watch a directory takes the longer the more names, also of deleted files, the kernel knows in it.
"""

import array
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_GET_FLAGS, _SET_FLAGS, _TOP_DIRECTORY = 0x80086601, 0x40086602, 0x00020000  # linux/fs.h


def prefer_var_tmp() -> None:
    """Use /var/tmp, unless TMPDIR is set: many programs leave names in /tmp.

    A server watches all directories above its files.
    """
    os.environ.setdefault("TMPDIR", "/var/tmp")
    tempfile.tempdir = None  # which it may have found already


def keep_apart(directory: str | os.PathLike[str]) -> None:
    """Let ext4 place the directories in this one far from each other, as chattr +T does."""
    descriptor = os.open(directory, os.O_RDONLY)
    with suppress(OSError):  # another file system
        flags = array.array("L", [0])
        fcntl.ioctl(descriptor, _GET_FLAGS, flags)
        flags[0] |= _TOP_DIRECTORY
        fcntl.ioctl(descriptor, _SET_FLAGS, flags)
    os.close(descriptor)


@contextmanager
def own_directory() -> Iterator[None]:
    """Let tempfile use a directory of this process, in which any user may make files."""
    with tempfile.TemporaryDirectory(prefix="aserve-tests-") as directory:
        os.chmod(directory, 0o1777)
        keep_apart(directory)
        before, tempfile.tempdir = tempfile.tempdir, directory
        yield
        tempfile.tempdir = before
