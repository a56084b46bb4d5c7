"""The entries of one directory: the names at once, what they lead to when it is asked for."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import overload

from aserve.filesystem.entries import EntryReader
from aserve.filesystem.errors import http_error
from aserve.filesystem.names_cache import Names, NamesCache
from aserve.filesystem.steps import in_steps
from aserve.http.resources import Entry


class DirectoryEntries(Sequence[Entry]):
    """The visible entries of a directory, in natural order, directories first.

    Their number is known without looking at each. Those that go while they are looked at are left
    out. Everything but the number may wait for a disk, and raises HttpError. The descriptors stay
    open as long as this object is referenced.
    """

    def __init__(self, root: int, reader: EntryReader, path: bytes, cache: NamesCache) -> None:
        self._directory = -1
        self._root = root
        self._reader = reader
        self._path = path
        self._directory = reader.open(path)
        key = path, reader.target(self._directory, path)
        known = cache.get(key, self._directory, self._read_names)
        undecided = self.describe(known.undecided)
        self.names = known.in_order({entry.name: entry.is_directory for entry in undecided})

    def _read_names(self) -> dict[bytes, int]:
        return self._reader.names(self._directory, self._path)

    def describe(self, names: Iterable[bytes]) -> list[Entry]:
        """Return the entries of some names as they are now, in the same order."""
        return [entry for entry in self.look_up(names) if entry]

    def look_up(self, names: Iterable[bytes]) -> Iterator[Entry | None]:
        """Yield the entry of each name as it is now; None for one that has gone."""
        try:
            for name in in_steps(names):
                yield self._reader.entry(self._directory, self._path, name)
        except OSError as error:
            raise http_error(error) from None

    def __len__(self) -> int:
        return sum(map(len, self.names))

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        names = [*chain(*self.names)][index]
        return self.describe([names])[0] if isinstance(names, bytes) else self.describe(names)

    def __iter__(self) -> Iterator[Entry]:
        return filter(None, self.look_up(chain(*self.names)))

    def __del__(self) -> None:
        for descriptor in (self._directory, self._root):
            if descriptor >= 0:
                os.close(descriptor)


class KnownEntries:
    """Entries that are all known, with the same names and methods as those of a directory."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._places: dict[bytes, int] = {}
        decided: dict[bytes, bool] = {}
        for place, entry in enumerate(in_steps(entries)):
            self._places[entry.name] = place
            decided[entry.name] = entry.is_directory
        self.names = Names({}).in_order(decided)

    def describe(self, names: Iterable[bytes]) -> list[Entry]:
        """Return the entries of some names, in the same order."""
        return [self._entries[self._places[name]] for name in in_steps(names)]

    def look_up(self, names: Iterable[bytes]) -> Iterator[Entry | None]:
        """Yield the entry of each name."""
        return (
            None if (place := self._places.get(name)) is None else self._entries[place]
            for name in in_steps(names)
        )


def named_entries(entries: Sequence[Entry]) -> DirectoryEntries | KnownEntries:
    """Return entries so that they can be chosen by their names."""
    return entries if isinstance(entries, DirectoryEntries) else KnownEntries(entries)
