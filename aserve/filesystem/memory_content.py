"""Content in memory that is sent as a file is: from a descriptor, without being copied."""

import os

from aserve.http.messages import FileSlice, SizedPart

_MAX_BYTES = 65_536  # more is in a file without a name, in memory as well, which sendfile reads


class MemoryContent:
    """A ByteSource that is made once and never changes.

    Raises OSError where there is no descriptor for it.
    """

    is_local = True
    __slots__ = ("_bytes", "_descriptor", "_size")

    def __init__(self, content: bytes) -> None:
        self._bytes: bytes | None = content
        self._size = len(content)
        self._descriptor = -1
        if self._size > _MAX_BYTES:
            self._descriptor, self._bytes = _file_of(content), None

    def __len__(self) -> int:
        return self._size

    @property
    def has_descriptor(self) -> bool:
        """Whether it keeps a descriptor open."""
        return self._descriptor >= 0

    def part(self, start: int, stop: int) -> SizedPart:
        """Return the bytes [start, stop) as a part of a body."""
        return FileSlice(self, start, stop) if self._bytes is None else self._bytes[start:stop]

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop), as ByteSource says."""
        if self._bytes is not None:
            return self._bytes[start:stop]
        return os.pread(self._descriptor, stop - start, start)

    def is_in_page_cache(self, start: int, stop: int) -> bool:  # noqa: ARG002 - ByteSource
        """Return True."""
        return True

    def is_unchanged(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor; small content has none, and part returns no slice of it."""
        return self._descriptor

    def close(self) -> None:
        """Do nothing: others may be sent the same content. It is closed with its last user."""

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)


def _file_of(content: bytes) -> int:
    descriptor = os.memfd_create("aserve", os.MFD_CLOEXEC)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
