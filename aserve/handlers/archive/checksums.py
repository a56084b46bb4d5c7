"""Checksums of files that were archived before: what makes an archive that can be resumed cheap."""

import threading
from array import array
from collections import OrderedDict
from typing import NamedTuple

STEP = 1 << 28
"""Bytes between two checksums of one file: no more are read again where a download goes on."""


class Checksum(NamedTuple):
    """The CRC-32 of the first bytes of a file, and how many they are."""

    position: int
    crc: int


_NOTHING = Checksum(0, 0)


class ChecksumCache:
    """Remembers CRC-32s of file states, after each STEP bytes and at the end. It is thread-safe.

    max_size: how many checksums; each takes about 200 bytes. The least recently used are evicted.
    """

    def __init__(self, max_size: int = 131_072) -> None:
        self._max_size = max_size
        self._size = 0
        self._known: OrderedDict[str, array[int]] = OrderedDict()
        self._lock = threading.Lock()

    def last_before(self, state: str, position: int, size: int) -> Checksum:
        """Return the last checksum known up to a position in a file of that state and size."""
        count = -(-size // STEP) if position == size else position // STEP
        with self._lock:
            known = self._known.get(state)
            if known is None:
                return _NOTHING
            self._known.move_to_end(state)
            count = min(count, len(known))
            return Checksum(min(count * STEP, size), known[count - 1]) if count else _NOTHING

    def add(self, state: str, checksum: Checksum) -> None:
        """Remember a checksum if it is the next one of its file: after STEP bytes or at its end."""
        index = (checksum.position - 1) // STEP
        with self._lock:
            known = self._known.setdefault(state, array("I"))
            if index == len(known):
                known.append(checksum.crc)
                self._size += 1
            self._known.move_to_end(state)
            while self._size > self._max_size:
                _, evicted = self._known.popitem(last=False)
                self._size -= len(evicted)
