"""Memory that the kernel takes from when octets have arrived: idle connections need none."""

import mmap
import struct

from aserve.linux.memory import address_of

GROUP = 1
"""The number by which operations name these buffers."""

_SIZE = 16_384  # octets
_COUNT = 64  # a power of two; each is given back as soon as it has been read

_ENTRY = struct.Struct("=QIH")  # io_uring_buf: address, length, number; two octets follow
_ENTRY_SIZE = 16
_TAIL = 7  # 16-bit word: how many were offered in all, in the first entry's last two octets
_REGISTRATION = struct.Struct("=QIH26x")  # io_uring_buf_reg


class ProvidedBuffers:
    """A ring of equal buffers, each of them the kernel's until it says that it has filled it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE * _COUNT)
        self._entries = mmap.mmap(-1, _ENTRY_SIZE * _COUNT)  # begins with a page, as it must
        self._start = address_of(self._memory)
        self._words = memoryview(self._entries).cast("H")
        self._provided = 0
        for number in range(_COUNT):
            self._provide(number)

    @property
    def registration(self) -> bytes:
        """Return what tells the kernel of them (io_uring_register(2))."""
        return _REGISTRATION.pack(address_of(self._entries), _COUNT, GROUP)

    def take(self, number: int, count: int) -> bytes:
        """Return the first octets of a buffer that was filled, and offer it again."""
        start = number * _SIZE
        octets = self._memory[start : start + count]
        self._provide(number)
        return octets

    def _provide(self, number: int) -> None:
        at = _ENTRY_SIZE * (self._provided % _COUNT)
        _ENTRY.pack_into(self._entries, at, self._start + number * _SIZE, _SIZE, number)
        self._provided += 1
        self._words[_TAIL] = self._provided & 0xFFFF
