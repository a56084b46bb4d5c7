"""How much may still be written: what was announced is reserved before the first byte is read."""

import os

from aserve.filesystem.writing.errors import NoSpace, TooLarge, translated
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.temporary import TemporaryFile

_STEP = 8 << 20  # bytes between two looks at the free space of the disk


class Reservation:
    """The room that one file takes."""

    def __init__(self, limits: WriteLimits, temporary: TemporaryFile) -> None:
        self._limits = limits
        self._temporary = temporary
        self._size = 0
        self._unchecked_from = 0

    def grow_to(self, size: int) -> None:
        """Take room for size bytes in all. Raises TooLarge or NoSpace."""
        limits = self._limits
        if limits.max_upload is not None and size > limits.max_upload:
            raise TooLarge
        if size > self._unchecked_from:
            self._check_free(size - self._size)
            self._unchecked_from = size + _STEP
        self._size = max(self._size, size)

    def check(self) -> None:
        """Raise QuotaExceeded if others have taken the room meanwhile."""

    def release(self) -> None:
        """Give the room back; twice does no harm."""

    def _check_free(self, size: int) -> None:
        if self._limits.min_free is None:
            return
        with translated():
            state = os.fstatvfs(self._temporary.descriptor)
        if state.f_bavail * state.f_frsize - size < self._limits.min_free:
            raise NoSpace
