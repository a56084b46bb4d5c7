"""The order of names as people expect it, and sorting that lets other threads work meanwhile."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar
from unicodedata import normalize

from aserve.filesystem.steps import MAX_AT_ONCE, in_steps, taken

_STEP = MAX_AT_ONCE // 2  # two runs are merged at once

_NUMBER = re.compile(rb"0*([0-9]+)")

Key = TypeVar("Key", bytes, int)


def natural_key(name: bytes) -> bytes:
    """Return what names are compared by: numbers by their value, letters in any case.

    A directory comes right before what is in it. Two names never have the same key.
    """
    return _folded_key(name) + name


def _folded_key(name: bytes) -> bytes:
    """Return how the keys begin of all names that are equal in any case."""
    return _NUMBER.sub(_number_key, fold_case(name)).replace(b"/", b"\1") + b"\0"


def contains(names: Sequence[bytes], name: bytes) -> bool:
    """Tell whether a name is among names in natural order, by looking at a few of them."""
    at = bisect_left(names, natural_key(name), key=natural_key)
    return at < len(names) and names[at] == name


def with_name(names: Sequence[bytes], name: bytes, *, is_there: bool) -> list[bytes]:
    """Return names in natural order with a name among them, or without it."""
    at = bisect_left(names, natural_key(name), key=natural_key)
    end = at + (at < len(names) and names[at] == name)
    return [*names[:at], *([name] if is_there else []), *names[end:]]


def find_in_any_case(names: Sequence[bytes], wanted: bytes) -> bytes | None:
    """Return the first of names in natural order that differs from the wanted one in case only."""
    key, folded = _folded_key(wanted), fold_case(wanted)
    for place in range(bisect_left(names, key, key=natural_key), len(names)):
        name = names[place]
        if fold_case(name) == folded:
            return name
        if not natural_key(name).startswith(key):
            break  # those with the same key besides differ in zeros
    return None


def sort_naturally(names: Iterable[bytes]) -> list[bytes]:
    """Return names in their natural order."""
    keys = sort_in_steps([natural_key(name) for name in in_steps(names)])
    return [key.rpartition(b"\0")[2] for key in in_steps(taken(keys))]


def fold_case(name: bytes) -> bytes:
    """Return a name so that two that differ in case, or in how accents are encoded, are equal."""
    if name.isascii():
        return name.lower()
    text = normalize("NFC", name.decode(errors="surrogateescape")).casefold()
    return text.encode(errors="surrogateescape")


def sort_in_steps(keys: Sequence[Key]) -> list[Key]:
    """Return keys in ascending order, without keeping the interpreter for long at once."""
    starts = in_steps(range(0, len(keys), _STEP), 1)
    runs: list[list[Key]] = [sorted(keys[start : start + _STEP]) for start in starts]
    while len(runs) > 1:
        runs = list(_merge_pairs(runs))
    return runs[0] if runs else []


def _merge_pairs(runs: list[list[Key]]) -> Iterator[list[Key]]:
    """Yield each two sorted lists as one, and the last one alone if it has no other."""
    for one, other in zip(runs[::2], runs[1::2], strict=False):
        yield list(chain.from_iterable(in_steps(_merge(one, other), 1)))
    yield from runs[len(runs) & ~1 :]


def _merge(one: list[Key], other: list[Key]) -> Iterator[list[Key]]:
    """Yield two sorted lists as one, in parts. To sort two runs is to merge them."""
    at_one, at_other = 0, 0
    while at_one < len(one) and at_other < len(other):
        part, rest = one[at_one : at_one + _STEP], other[at_other : at_other + _STEP]
        last = min(part[-1], rest[-1])
        first, second = bisect_right(part, last), bisect_right(rest, last)
        yield sorted(part[:first] + rest[:second])
        at_one += first
        at_other += second
    rest = one[at_one:] + other[at_other:]
    yield from (rest[start : start + _STEP] for start in range(0, len(rest), _STEP))


def _number_key(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    return b"0" + bytes((min(len(digits), 255),)) + digits
