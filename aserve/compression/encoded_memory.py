"""The files that were encoded before, in a bounded amount of memory."""

from collections import OrderedDict
from threading import Lock

from aserve.compression.encoded_file import EncodedFile
from aserve.filesystem.file_state import FileState

_OVERHEAD = 1_024  # bytes of an entry besides its content, measured with tracemalloc and rounded up
_MAX_DESCRIPTORS = 256


class EncodedMemory:
    """Encoded files by the state of the file and their coding. Any thread may use it.

    max_bytes: of all of them. The least recently used one is evicted first, and of those with a
    descriptor, where there are too many.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = Lock()
        self._entries: OrderedDict[tuple[FileState, str], EncodedFile] = OrderedDict()
        self._with_descriptor: OrderedDict[tuple[FileState, str], None] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes are taken."""
        return self._size

    def get(self, state: FileState, coding: str) -> EncodedFile | None:
        """Return what a file in this state is in a coding, None where that is not known."""
        key = state, coding
        with self._lock:
            found = self._entries.get(key)
            if found:
                self._entries.move_to_end(key)
                if key in self._with_descriptor:
                    self._with_descriptor.move_to_end(key)
            return found

    def put(self, state: FileState, encoded: EncodedFile) -> None:
        """Store what a file is in a coding, in place of what was stored before."""
        key = state, encoded.coding
        with self._lock:
            self._remove(key)
            self._entries[key] = encoded
            self._size += _weight(encoded)
            if encoded.content and encoded.content.has_descriptor:
                self._with_descriptor[key] = None
            while self._size > self.max_bytes and self._entries:
                self._remove(next(iter(self._entries)))
            while len(self._with_descriptor) > _MAX_DESCRIPTORS:
                self._remove(next(iter(self._with_descriptor)))

    def _remove(self, key: tuple[FileState, str]) -> None:
        if former := self._entries.pop(key, None):
            self._size -= _weight(former)
            self._with_descriptor.pop(key, None)


def _weight(encoded: EncodedFile) -> int:
    return _OVERHEAD + (len(encoded.content) if encoded.content else 0)
