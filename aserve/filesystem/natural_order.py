"""The order of names as people expect it, and sorting that lets other threads work meanwhile."""

import re
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import zip_longest
from typing import TypeVar
from unicodedata import normalize

# One call of sort() keeps the interpreter to itself: 1 ms for this many keys. What is sorted in
# parts is then merged by it at 40 ns a key.
_STEP = 2_048
_MAX_MERGED_AT_ONCE = 65_536

_NUMBER = re.compile(rb"0*([0-9]+)")

Key = TypeVar("Key", bytes, int)


def natural_key(name: bytes) -> bytes:
    """Return what names are compared by: numbers by their value, letters in any case.

    A directory comes right before what is in it. Two names never have the same key.
    """
    key = _NUMBER.sub(_number_key, fold_case(name)).replace(b"/", b"\1")
    return key + b"\0" + name


def sort_naturally(names: Iterable[bytes]) -> list[bytes]:
    """Return names in their natural order."""
    keys = sort_in_steps([natural_key(name) for name in names])
    return [key.rpartition(b"\0")[2] for key in keys]


def fold_case(name: bytes) -> bytes:
    """Return a name so that two that differ in case, or in how accents are encoded, are equal."""
    if name.isascii():
        return name.lower()
    text = normalize("NFC", name.decode(errors="surrogateescape")).casefold()
    return text.encode(errors="surrogateescape")


def sort_in_steps(keys: Sequence[Key]) -> list[Key]:
    """Return keys in ascending order, without keeping the interpreter for long at once."""
    runs: list[list[Key]] = [
        sorted(keys[start : start + _STEP]) for start in range(0, len(keys), _STEP)
    ]
    empty: list[Key] = []
    while len(runs) > 1 and len(runs[0]) < _MAX_MERGED_AT_ONCE:
        pairs = zip_longest(runs[::2], runs[1::2], fillvalue=empty)
        runs = [sorted(one + other) for one, other in pairs]
    return runs[0] if len(runs) == 1 else list(merge(*runs))


def _number_key(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    return b"0" + bytes((min(len(digits), 255),)) + digits
