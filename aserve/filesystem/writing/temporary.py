"""A file without a name, or with one that is never served, which gets its name when it is whole."""

import errno
import fcntl
import os
import secrets
from contextlib import suppress

from aserve.linux.renameat2 import rename_noreplace

PREFIX = b".aserve-upload-"
"""What names of temporary files begin with; Visibility hides them always."""

_FLAGS = os.O_RDWR | os.O_CLOEXEC
_NAMED_FLAGS = _FLAGS | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MODE = 0o666  # less the umask, as of any new file

# Of a file system, or a kernel, that has no files without names (NFS, FUSE, vfat).
_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


class TemporaryFile:
    """An open file that has no name yet, or a hidden one in its directory.

    Without a name it needs no cleaning up: the kernel gives its space back when it is closed,
    however the process ends. It is locked as long as it is open, so that a sweep spares it.
    directory: an open one, of which this object keeps a duplicate where it needs it.
    """

    def __init__(self, directory: int, *, unnamed: bool = True) -> None:
        self.name = b""
        self._directory = -1
        self.descriptor = _open_unnamed(directory) if unnamed else -1
        if self.descriptor < 0:
            self._open_hidden(directory)

    def _open_hidden(self, directory: int) -> None:
        self._directory = os.dup(directory)
        try:
            name = _random_name()
            self.descriptor = os.open(name, _NAMED_FLAGS, _MODE, dir_fd=directory)
            self.name = name
        except OSError:
            self.close()
            raise
        self._lock()

    def _lock(self) -> None:
        with suppress(OSError):  # some file systems have no locks: there, its age must do
            fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def give_name(self, directory: int, name: bytes) -> None:
        """Give the file a name that is not taken. Raises FileExistsError where it is, OSError."""
        if self.name:
            rename_noreplace(self._directory, self.name, directory, name)
            self.name = b""
        else:
            _link(self.descriptor, directory, name)

    def replace(self, directory: int, name: bytes) -> None:
        """Give the file a name in place of the file that has it. Raises OSError."""
        if not self.name:  # linkat(2) replaces nothing
            self._give_hidden_name(directory)
        os.rename(self.name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        self.name = b""

    def _give_hidden_name(self, directory: int) -> None:
        self._lock()
        self._directory = os.dup(directory)
        name = _random_name()
        _link(self.descriptor, directory, name)
        self.name = name

    def close(self) -> None:
        """Close the file; remove its hidden name, if it has one. Raises OSError."""
        try:
            if self.name:
                os.unlink(self.name, dir_fd=self._directory)
        finally:
            descriptors = self.descriptor, self._directory
            self.name, self.descriptor, self._directory = b"", -1, -1
            for descriptor in descriptors:
                if descriptor >= 0:
                    with suppress(OSError):  # it is closed all the same: close(2)
                        os.close(descriptor)


def _open_unnamed(directory: int) -> int:
    """Return a descriptor of a new file without a name, -1 where there is no such thing."""
    try:
        return os.open(b".", _FLAGS | os.O_TMPFILE, _MODE, dir_fd=directory)
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
        return -1


def _link(descriptor: int, directory: int, name: bytes) -> None:
    # By the name that /proc has for it, as open(2) says: AT_EMPTY_PATH is only for root.
    os.link(b"/proc/self/fd/%d" % descriptor, name, dst_dir_fd=directory, follow_symlinks=True)


def _random_name() -> bytes:
    return PREFIX + secrets.token_hex(8).encode()
