"""The hashes of files, as long as the files are unchanged."""

import hashlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from aserve.filesystem.file_state import FileState, is_settled, state_of

ALGORITHMS: Mapping[str, Callable[[], "hashlib._Hash"]] = {
    "sha-256": hashlib.sha256,
    "sha-512": hashlib.sha512,
}
"""By their names in RFC 9530."""

_MAX_ENTRIES = 10_000  # 4 MB
_MAX_AT_ONCE = 2  # files that are read: each takes a thread, and a good part of a core
_SMALL = 1 << 20  # bytes: read in a millisecond or two, so any number at once
_PIECE = 1 << 20  # bytes: what is read in one call, without the interpreter lock

_Key = tuple[str, FileState]


class DigestCache:
    """Hashes by what tells two states of a file apart: device, inode, size and both times.

    That is what the entity tag is made of. Any thread may use it. max_entries: the oldest is
    evicted first, by its last use.
    """

    def __init__(
        self, max_entries: int = _MAX_ENTRIES, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._max_entries = max_entries
        self._clock = clock
        self._digests: OrderedDict[_Key, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.BoundedSemaphore(_MAX_AT_ONCE)

    def get(self, status: os.stat_result, algorithm: str) -> bytes | None:
        """Return the hash of a file in this state, None where it is not known. Does not wait."""
        key = _key(status, algorithm)
        with self._lock:
            digest = self._digests.get(key)
            if digest:
                self._digests.move_to_end(key)
            return digest

    def add(self, status: os.stat_result, digests: Mapping[str, bytes]) -> None:
        """Remember hashes of a file by their algorithms, if there are any."""
        if not digests:
            return
        with self._lock:
            for algorithm, digest in digests.items():
                self._digests[_key(status, algorithm)] = digest
            while len(self._digests) > self._max_entries:
                self._digests.popitem(last=False)

    def compute(
        self, descriptor: int, algorithm: str, status: os.stat_result | None = None
    ) -> bytes | None:
        """Return the hash of an open file, which is read for it if need be: this may take long.

        status: the state that is asked for; None: that of now. None is returned where the file
        changes meanwhile, or where it is large and two others are being read: a client that asks
        for a hash can do without (RFC 9530 section 4). Raises OSError.
        """
        status = status or os.fstat(descriptor)
        if known := self.get(status, algorithm):
            return known
        can_store = is_settled(status, self._clock())  # else a change meanwhile may not show
        is_large = status.st_size > _SMALL
        if is_large and not self._reading.acquire(blocking=False):
            return None
        try:
            digest = _read(descriptor, algorithm)
        finally:
            if is_large:
                self._reading.release()
        if _key(os.fstat(descriptor), algorithm) != _key(status, algorithm):
            return None
        if can_store:
            self.add(status, {algorithm: digest})
        return digest


def _key(status: os.stat_result, algorithm: str) -> _Key:
    return algorithm, state_of(status)


def _read(descriptor: int, algorithm: str) -> bytes:
    digest, start = ALGORITHMS[algorithm](), 0
    while piece := os.pread(descriptor, _PIECE, start):
        digest.update(piece)
        start += len(piece)
    return digest.digest()
