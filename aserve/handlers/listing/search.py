"""Choosing entries: which match, in which order, and which of them are on the page."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.directory_entries import DirectoryEntries, KnownEntries, named_entries
from aserve.filesystem.natural_order import sort_in_steps
from aserve.filesystem.packed import PackedEntries
from aserve.filesystem.steps import in_steps, taken
from aserve.handlers.listing.model import ListingQuery
from aserve.handlers.listing.query import name_matcher
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry

_VALUES: dict[str, Callable[[Entry], int]] = {
    "size": lambda entry: entry.size,
    "time": lambda entry: entry.modified,
}
_PLACE_BITS = 40
_PLACE_MASK = (1 << _PLACE_BITS) - 1


class SearchLimits(NamedTuple):
    """How far a deep search goes: entries that are looked at, and seconds by a clock.

    max_running: how many may run at once. Each has a thread for all of its time.
    """

    max_entries: int = 100_000
    max_seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic
    max_running: int = 4


class Found(NamedTuple):
    """The entries of one page, how many match, and whether all were looked at.

    names: those of files in the directory itself, whatever matches, in natural order.
    """

    entries: Sequence[Entry]
    total: int
    names: Sequence[bytes]
    is_complete: bool = True


def find_entries(
    files: FileSystem, path: TargetPath, query: ListingQuery, limits: SearchLimits
) -> Found:
    """Return what a query asks for, of what is in a directory now. May wait; raises HttpError."""
    matches = name_matcher(query.search) if query.search else None
    if query.is_deep:
        entries, is_complete = _search_below(files.walk(path), matches, limits)
        found, total = _page(KnownEntries(entries), query, None)
        return Found(found, total, (), is_complete)
    listed = named_entries(files.entries(path))
    found, total = _page(listed, query, matches)
    return Found(found, total, listed.names.files)


def _search_below(
    walk: Iterator[tuple[tuple[bytes, ...], Entry]],
    matches: Callable[[bytes], bool] | None,
    limits: SearchLimits,
) -> tuple[PackedEntries, bool]:
    """Return the matching entries, named by their paths, and whether all were looked at."""
    found = PackedEntries()
    end = limits.clock() + limits.max_seconds
    for count, (names, entry) in enumerate(walk):
        if count >= limits.max_entries or limits.clock() > end:
            return found, False
        path = b"/".join(names)
        if matches is None or matches(path):
            found.append(entry._replace(name=path))
    return found, True


def _page(
    listed: DirectoryEntries | KnownEntries,
    query: ListingQuery,
    matches: Callable[[bytes], bool] | None,
) -> tuple[Sequence[Entry], int]:
    """Return the entries of a page, directories first, and how many match."""
    groups: Sequence[Sequence[bytes]] = listed.names
    if matches:
        groups = [list(filter(matches, in_steps(names))) for names in groups]
    if query.sort == "name":
        # Only the names decide, so nothing else is asked for but what is shown.
        ordered = [names[::-1] if query.order == "desc" else names for names in groups]
    else:
        ordered = [_by_value(listed, names, query) for names in groups]
    names = [*ordered[0], *ordered[1]]
    return listed.describe(names[query.offset : query.offset + query.limit]), len(names)


def _by_value(
    listed: DirectoryEntries | KnownEntries, names: Sequence[bytes], query: ListingQuery
) -> list[bytes]:
    """Return names in the order of what they lead to; those with the same value keep theirs.

    Value and place are one number, so that no objects are kept that the garbage collector, which
    keeps the interpreter, would have to look at.
    """
    value, sign = _VALUES[query.sort], -1 if query.order == "desc" else 1
    keys = [
        (sign * value(entry) << _PLACE_BITS) + place
        for place, entry in enumerate(listed.look_up(names))
        if entry
    ]
    return [names[key & _PLACE_MASK] for key in in_steps(taken(sort_in_steps(keys)))]
