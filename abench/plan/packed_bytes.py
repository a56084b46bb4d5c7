"""Many short byte strings in little memory: objects would take several times their length."""

from array import array
from collections.abc import Sequence
from itertools import accumulate


class PackedBytes:
    """A list of byte strings, stored one after the other in one buffer."""

    __slots__ = ("_buffer", "_ends")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ends = array("Q", [0])

    def extend(self, parts: Sequence[bytes]) -> None:
        """Append byte strings."""
        end = self._ends.pop()  # accumulate yields it first
        self._ends.extend(accumulate(map(len, parts), initial=end))
        self._buffer += b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return bytes(self._buffer[self._ends[index] : self._ends[index + 1]])
