"""Encoded files on disk: they outlive the process, and all workers share them."""

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from threading import Lock

from aserve.compression.codecs import library_version
from aserve.filesystem.file_state import FileState

MAX_BYTES = 1 << 30
"""Of a folder; the least recently used files are removed first."""

_MAGIC = b"aserve encoded file 1\n"
_HASH_SIZE = 32
_SUFFIX = b".encoded"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_STORES_PER_SWEEP = 64
_MAX_FILE_SIZE = 9 << 20  # bytes: more than any content has, which is smaller than its file


class EncodedFolder:
    """Encoded files in a folder of this user alone. Any thread, and any process, may use it.

    What is in it is checked when it is read: whatever is wrong is as if it was not there. A folder
    that cannot be written to stores nothing; on_error is told why, once.
    """

    def __init__(
        self, path: bytes, on_error: Callable[[OSError], None], max_bytes: int = MAX_BYTES
    ) -> None:
        self._path = path
        self._on_error: Callable[[OSError], None] | None = on_error
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._stores = 0

    def load(self, state: FileState, coding: str, level: int) -> bytes | None:
        """Return what a file in this state is in a coding, None where it is not known.

        b"": the coding is not worth sending.
        """
        key = _key(state, coding, level)
        path = self._path_of(key)
        try:
            with open(os.open(path, _READ), "rb") as file:
                status = os.fstat(file.fileno())
                is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
                if not is_own or status.st_size > _MAX_FILE_SIZE:
                    return None
                data = file.read()
                os.utime(file.fileno())  # by which the least recently used ones are found
        except OSError:
            return None
        head = _MAGIC + key
        content = data[len(head) + _HASH_SIZE :]
        return content if data == _framed(head, content) else None

    def store(self, state: FileState, coding: str, level: int, content: bytes) -> None:
        """Store what a file is in a coding, whole or not at all."""
        key = _key(state, coding, level)
        # With the suffix, one that a crash has left is swept like the others.
        temporary = os.path.join(self._path, b".%s%s" % (secrets.token_hex(8).encode(), _SUFFIX))
        try:
            self._make()
            try:
                with open(os.open(temporary, _WRITE, 0o600), "wb") as file:
                    file.write(_framed(_MAGIC + key, content))
                os.rename(temporary, self._path_of(key))
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
            self._sweep_sometimes()
        except OSError as error:
            on_error, self._on_error = self._on_error, None
            if on_error:
                on_error(error)

    def _make(self) -> None:
        """Make the folder. Raises OSError if others may write to what is there."""
        with suppress(FileExistsError):
            os.mkdir(self._path, 0o700)
        # Where anyone can make it, as in /tmp, anyone may have since the settings were checked.
        status = os.stat(self._path)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "others can write to the folder")

    def _path_of(self, key: bytes) -> bytes:
        name = blake2b(key, digest_size=20).hexdigest().encode()
        return os.path.join(self._path, name + _SUFFIX)

    def _sweep_sometimes(self) -> None:
        with self._lock:
            self._stores += 1
            if self._stores % _STORES_PER_SWEEP != 1:
                return
        self.sweep()

    def sweep(self) -> None:
        """Remove the files that were not used for the longest time, if all are too large."""
        with os.scandir(self._path) as entries:
            files = [
                (status.st_mtime_ns, status.st_size, entry.path)
                for entry in entries
                if entry.name.endswith(_SUFFIX) and (status := _status(entry))
            ]
        excess = sum(size for _, size, _ in files) - self._max_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with suppress(FileNotFoundError):  # another process sweeps as well
                os.unlink(path)
            excess -= size


def _status(entry: "os.DirEntry[bytes]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def _key(state: FileState, coding: str, level: int) -> bytes:
    return (
        f"{' '.join(map(str, state))} {coding} {level} {library_version(coding, level)}\n".encode()
    )


def _framed(head: bytes, content: bytes) -> bytes:
    return head + blake2b(content, digest_size=_HASH_SIZE).digest() + content
