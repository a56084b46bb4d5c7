"""Buffers that the kernel takes when data arrives, so that idle connections need no memory."""

import mmap
import struct

from aserve.linux.libc import address_of

GROUP = 1
"""The number by which operations name these buffers."""

_SIZE = 16_384  # bytes
_COUNT = 64  # a power of two; each buffer is given back as soon as it has been read

_ENTRY = struct.Struct("=QIH")  # io_uring_buf: address, length, number; two bytes follow
_ENTRY_SIZE = 16
_TAIL = 7  # 16-bit word: how many were provided in all, in the first entry's last two bytes
_REGISTRATION = struct.Struct("=QIH26x")  # io_uring_buf_reg


class ProvidedBuffers:
    """A ring of buffers of one size. Each is the kernel's until the kernel reports it as filled."""

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
        """The argument that registers the buffers with the kernel (io_uring_register(2))."""
        return _REGISTRATION.pack(address_of(self._entries), _COUNT, GROUP)

    def take(self, number: int, size: int) -> bytes:
        """Return the first size bytes of a filled buffer, and provide it again."""
        start = number * _SIZE
        data = self._memory[start : start + size]
        self._provide(number)
        return data

    def _provide(self, number: int) -> None:
        at = _ENTRY_SIZE * (self._provided % _COUNT)
        _ENTRY.pack_into(self._entries, at, self._start + number * _SIZE, _SIZE, number)
        self._provided += 1
        self._words[_TAIL] = self._provided & 0xFFFF
