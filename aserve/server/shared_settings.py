"""The latest settings, in memory that a process shares with all that it forks afterwards."""

import mmap
import os
import pickle
import struct

from aserve.config.settings import Settings

_SIZE = struct.Struct("Q")


class SharedSettings:
    """A file in memory to which settings are appended, and how much of it is complete.

    The eight bytes that say so are the pointer that a reload moves, for all processes at once.
    """

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("aserve-settings", os.MFD_CLOEXEC)
        self._complete = mmap.mmap(-1, _SIZE.size)
        self._seen = 0

    def publish(self, settings: Settings) -> None:
        """Have every process find other settings from now on."""
        data = pickle.dumps(settings)
        (size,) = _SIZE.unpack(self._complete)
        data += _SIZE.pack(len(data))
        os.pwrite(self._descriptor, data, size)
        self._seen = size + len(data)
        self._complete[:] = _SIZE.pack(self._seen)

    def read_new(self) -> Settings | None:
        """Return the latest settings if this process does not know them yet."""
        (size,) = _SIZE.unpack(self._complete)
        if size == self._seen:
            return None
        self._seen = size
        (length,) = _SIZE.unpack(os.pread(self._descriptor, _SIZE.size, size - _SIZE.size))
        data = os.pread(self._descriptor, length, size - _SIZE.size - length)
        settings: Settings = pickle.loads(data)  # noqa: S301 - written by our own parent
        return settings
