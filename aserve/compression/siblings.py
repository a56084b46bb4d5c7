"""One compressed sibling: whether it is up to date, and how it is written."""

import os
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from aserve.compression.codecs import BEST_LEVELS, compressor
from aserve.compression.worthwhile import MAX_RATIO
from aserve.filesystem.writing.temporary import PREFIX
from aserve.http.content_negotiation import CODINGS

_CHUNK_SIZE = 256 << 10  # a stop waits for one chunk at the best level: about 0.3 s
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Stopped(Exception):
    """The work was stopped: nothing of it is left."""


class FileChanged(Exception):
    """The file was written to while it was compressed."""


def sibling_path(path: bytes, coding: str) -> bytes:
    """Return the path of a file's sibling."""
    return path + CODINGS[coding]


def is_current(path: bytes, original: os.stat_result) -> bool:
    """Tell whether the sibling at a path was made of this version of the file.

    It has the modification time of the file then, to the nanosecond. A later one is no proof: the
    file may have been replaced by an older version of it since.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    is_whole = stat.S_ISREG(status.st_mode) and status.st_size > 0
    return is_whole and status.st_mtime_ns == original.st_mtime_ns


def is_worthwhile(path: bytes, is_stopped: Callable[[], bool]) -> bool:
    """Tell whether gzip makes a file smaller than MAX_RATIO at its fastest level.

    One rule for all codings, which costs little: a file that is not worth it is found out anew by
    each run, since nothing on disk says so.
    """
    probe, before, after = zlib.compressobj(1), 0, 0
    with _opened(path) as source:
        for chunk in _chunks(source, is_stopped):
            before += len(chunk)
            after += len(probe.compress(chunk))
    after += len(probe.flush())
    return after < before * MAX_RATIO


def write_sibling(path: bytes, coding: str, is_stopped: Callable[[], bool]) -> int:
    """Compress a file at the best level into its sibling; return the size of it in bytes.

    The sibling appears whole or not at all, with the permissions and the modification time of the
    file. Raises FileChanged, Stopped or OSError; then what was there before is unchanged.
    """
    target = sibling_path(path, coding)
    temporary = os.path.join(os.path.dirname(path), PREFIX + secrets.token_hex(8).encode())
    with _opened(path) as source:
        before = os.fstat(source)
        try:
            size = _write(source, temporary, coding, before, is_stopped)
            if _version(os.fstat(source)) != _version(before) or not _is_at(path, before):
                raise FileChanged
            os.rename(temporary, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
    return size


def _write(
    source: int,
    temporary: bytes,
    coding: str,
    status: os.stat_result,
    is_stopped: Callable[[], bool],
) -> int:
    encoder = compressor(coding, BEST_LEVELS[coding])
    with open(os.open(temporary, _WRITE, 0o600), "wb") as file:
        file.writelines(map(encoder.compress, _chunks(source, is_stopped)))
        file.write(encoder.flush())
        file.flush()
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        # After a crash a sibling with the right time and half of its bytes would be served.
        os.fsync(file.fileno())
        return file.tell()


@contextmanager
def _opened(path: bytes) -> Iterator[int]:
    descriptor = os.open(path, _READ)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _chunks(source: int, is_stopped: Callable[[], bool]) -> Iterator[bytes]:
    while chunk := os.read(source, _CHUNK_SIZE):
        if is_stopped():
            raise Stopped
        yield chunk


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_at(path: bytes, status: os.stat_result) -> bool:
    """Tell whether a path still leads to the file that was opened there."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except FileNotFoundError:
        return False
