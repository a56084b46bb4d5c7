"""A file without a name, or with one that is never served, which gets its name when it is whole."""

import errno
import fcntl
import os
import secrets
from typing import Self

from aserve.linux.libc import os_error
from aserve.linux.renameat2 import rename_noreplace

PREFIX = b".aserve-upload-"
"""What names of temporary files begin with; Visibility hides them always."""

PARTIAL_PREFIX = PREFIX + b"partial-"
"""What those begin with that stay between two requests: the bytes so far, and their state."""

STATE_SUFFIX = b".json"
"""What names of states end with."""

_FLAGS = os.O_RDWR | os.O_CLOEXEC
_NEW = os.O_APPEND | os.O_CREAT | os.O_EXCL
_PRESENT = os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE = 0o666  # less the umask, as of any new file

# Of a file system, or a kernel, that has no files without names (NFS, FUSE, vfat).
_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


class TemporaryFile:
    """An open file that has no name yet, or a hidden one in its directory.

    Without a name it needs no cleaning up: the kernel gives its space back when it is closed,
    however the process ends. One with a name is locked while it is open, so that a sweep spares it.
    """

    def __init__(self, descriptor: int, name: bytes = b"", directory: int = -1) -> None:
        self.descriptor = descriptor
        self.name = name
        self.directory = directory

    @classmethod
    def create(cls, directory: int) -> Self:
        """Return a new file, with a name only where the file system has none without. OSError."""
        descriptor = _open_unnamed(directory)
        if descriptor >= 0:
            return cls(descriptor)
        return cls.open(directory, _random_name(), is_new=True)

    @classmethod
    def open(cls, directory: int, name: bytes, *, is_new: bool) -> Self:
        """Return a file of a hidden name, to append to. Raises OSError.

        Raises BlockingIOError where another writer has it open, FileNotFoundError where that has
        just finished.
        """
        file = cls(-1, directory=os.dup(directory))
        try:
            flags = _FLAGS | (_NEW if is_new else _PRESENT)
            file.descriptor = os.open(name, flags, _MODE, dir_fd=directory)
            file._lock()
            if not os.fstat(file.descriptor).st_nlink:
                raise os_error(errno.ENOENT)
            file.name = name
        except OSError:
            file.close()
            raise
        return file

    def _lock(self) -> None:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # some file systems have no locks: there, its age must do
            if isinstance(error, BlockingIOError):
                raise

    def give_name(self, directory: int, name: bytes) -> None:
        """Give the file a name that is not taken. Raises FileExistsError where it is, OSError."""
        if self.name:
            rename_noreplace(self.directory, self.name, directory, name)
            self.name = b""
        else:
            _link(self.descriptor, directory, name)

    def replace(self, directory: int, name: bytes) -> None:
        """Give the file a name in place of the file that has it. Raises OSError."""
        if self.name:
            os.rename(self.name, name, src_dir_fd=self.directory, dst_dir_fd=directory)
            self.name = b""
        else:
            self._replace_unnamed(directory, name)

    def _replace_unnamed(self, directory: int, name: bytes) -> None:
        """Replace a file by way of a hidden name: linkat(2) replaces nothing."""
        self._lock()
        hidden = _random_name()
        _link(self.descriptor, directory, hidden)
        try:
            os.rename(hidden, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(hidden, dir_fd=directory)
            raise

    def keep(self) -> None:
        """Leave the hidden name when the file is closed."""
        self.name = b""

    def close(self) -> None:
        """Close the file; remove its hidden name, if it has one. Raises OSError."""
        try:
            if self.name:
                os.unlink(self.name, dir_fd=self.directory)
        finally:
            descriptors = self.descriptor, self.directory
            self.name, self.descriptor, self.directory = b"", -1, -1
            for descriptor in descriptors:
                if descriptor >= 0:
                    try:  # noqa: SIM105 - suppress costs three calls
                        os.close(descriptor)
                    except OSError:  # it is closed all the same: close(2)
                        pass


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
