"""Choosing entries: which match, in which order, and which of them are on the page."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.directory_entries import DirectoryEntries, KnownEntries, named_entries
from aserve.filesystem.natural_order import sort_in_steps
from aserve.handlers.listing.model import ListingQuery
from aserve.handlers.listing.query import name_matcher
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry

_VALUES: dict[str, Callable[[Entry], int]] = {
    "size": lambda entry: entry.size,
    "time": lambda entry: entry.modified,
}
_INDEX_BITS = 40


class SearchLimits(NamedTuple):
    """How far a deep search goes: entries that are looked at, and seconds by a clock."""

    max_entries: int = 100_000
    max_seconds: float = 2.0
    clock: Callable[[], float] = time.monotonic


class Found(NamedTuple):
    """The entries of one page, how many match, and whether all were looked at.

    names: those in the directory itself, whatever matches.
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
) -> tuple[list[Entry], bool]:
    """Return the matching entries, named by their paths, and whether all were looked at."""
    found: list[Entry] = []
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
    groups = [list(filter(matches, names) if matches else names) for names in listed.names]
    page = slice(query.offset, query.offset + query.limit)
    if query.sort == "name":
        # Only the names decide, so nothing else is asked for but what is shown.
        ordered = [name for names in groups for name in _directed(names, query)]
        return listed.describe(ordered[page]), len(ordered)
    entries = [entry for names in groups for entry in _by_value(listed.describe(names), query)]
    return entries[page], len(entries)


def _directed(names: list[bytes], query: ListingQuery) -> list[bytes]:
    return names[::-1] if query.order == "desc" else names


def _by_value(entries: list[Entry], query: ListingQuery) -> Iterator[Entry]:
    """Return entries in the order of a value; those with the same one keep theirs."""
    value, sign = _VALUES[query.sort], -1 if query.order == "desc" else 1
    keys = [(sign * value(entry) << _INDEX_BITS) + index for index, entry in enumerate(entries)]
    return (entries[key & ((1 << _INDEX_BITS) - 1)] for key in sort_in_steps(keys))
