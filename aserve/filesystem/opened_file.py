"""A file that is open, and what its state says of it: its representation and validator."""

import errno
import os
import time
from collections.abc import Callable

from aserve.http.resources import Representation, Validator, file_validator
from aserve.linux.cachestat import is_cached

_RESIDENT_S = 0.01  # seconds for which a part of a file counts as in memory without asking again


class OpenFile:
    """A file on disk. Its descriptor stays open as long as this object is referenced.

    wait: whether reading may wait for the disk; local: whether it is only a disk that reading waits
    for, and no network.
    """

    __slots__ = (
        "_descriptor",
        "_resident",
        "_status",
        "_wait",
        "is_local",
    )

    def __init__(self, descriptor: int, status: os.stat_result, *, wait: bool, local: bool) -> None:
        self._descriptor = descriptor
        self._status = status  # which the entity tag was made of
        self._wait = wait
        self._resident = 0, 0, 0.0  # start, stop of bytes in memory; when, in monotonic seconds
        self.is_local = local

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop); fewer if the file has become shorter.

        Raises BlockingIOError where wait is False and not all of them are in memory.
        """
        if self._wait:
            return self._read_waiting(start, stop)
        buffer = bytearray(stop - start)
        try:
            if os.preadv(self._descriptor, [buffer], start, os.RWF_NOWAIT) == stop - start:
                return bytes(buffer)
        except AttributeError:
            pass  # a Python without the flag
        except OSError as error:
            # A file system that does not know the flag, as tmpfs: there cachestat says it before.
            if error.errno == errno.EOPNOTSUPP and self.is_in_page_cache(start, stop):
                return self._read_waiting(start, stop)
        raise BlockingIOError  # if the file has become shorter, a thread that may wait finds out

    def _read_waiting(self, start: int, stop: int) -> bytes:
        parts = []
        while start < stop and (part := os.pread(self._descriptor, stop - start, start)):
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        """Tell whether the bytes [start, stop) can be read without waiting.

        The kernel is not asked again within _RESIDENT_S: it evicts the least recently used pages
        first, and asking costs a call through ctypes.
        """
        first, last, checked_at = self._resident
        now = time.monotonic()
        if first <= start and stop <= last and now - checked_at < _RESIDENT_S:
            return True
        if not (self.is_local and is_cached(self._descriptor, start, stop)):
            return False
        self._resident = start, stop, now
        return True

    def is_unchanged(self) -> bool:
        """Tell whether the file still exists, in the state that its entity tag was made of."""
        try:
            now, was = os.fstat(self._descriptor), self._status
        except OSError:
            return False
        return (
            now.st_mtime_ns == was.st_mtime_ns
            and now.st_ctime_ns == was.st_ctime_ns
            and now.st_size == was.st_size
            and now.st_nlink > 0
        )

    @property
    def status(self) -> os.stat_result:
        """The state that its entity tag was made of."""
        return self._status

    @property
    def may_wait(self) -> bool:
        """Whether reading may wait for the disk."""
        return self._wait

    def fileno(self) -> int:
        """Return the descriptor, which this object still closes."""
        return self._descriptor

    def close(self) -> None:
        """Close the file early; closing twice does no harm."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:  # noqa: SIM105 - suppress costs three calls
                os.close(descriptor)
            except InterruptedError:  # it is closed all the same: close(2)
                pass

    __del__ = close


def validator_of(status: os.stat_result) -> Validator:
    """Return what distinguishes the state of a file from any other."""
    times = status.st_mtime_ns, status.st_ctime_ns
    return file_validator(*times, status.st_ino, status.st_size)


MakeValidator = Callable[[os.stat_result, OpenFile], Validator]
"""Returns the validator of an open file, which it may read for that.

Raises OSError, and BlockingIOError where the file may not wait for the disk.
"""


def representation_of(
    file: OpenFile,
    status: os.stat_result,
    media_type: str,
    coding: str,
    make_validator: MakeValidator | None = None,
) -> Representation:
    """Return the representation that a file is, with its validator.

    make_validator: makes it; None: it is made of the file's state, without another call.
    """
    if make_validator:
        validator = make_validator(status, file)
    else:
        times = status.st_mtime_ns, status.st_ctime_ns
        validator = file_validator(*times, status.st_ino, status.st_size)
    return Representation(media_type, status.st_size, validator, file, coding)
