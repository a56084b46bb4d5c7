"""The entries of one directory: the names at once, what they lead to when it is asked for."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import chain
from typing import overload

from aserve.filesystem.entries import EntryReader
from aserve.filesystem.errors import http_error
from aserve.filesystem.names_cache import Names, NamesCache, OrderedNames
from aserve.filesystem.natural_order import contains, with_name
from aserve.filesystem.open_beneath import open_directory
from aserve.filesystem.steps import in_steps
from aserve.filesystem.visibility import Visibility
from aserve.http.resources import Entry


class DirectoryEntries(Sequence[Entry]):
    """The visible entries of a directory, in natural order, directories first.

    Their number is known without looking at each. Those that go while they are looked at are left
    out. Everything but the number may wait for a disk, and raises HttpError. The directory is only
    open while entries are looked up: a client that reads a long listing slowly holds no descriptor.
    """

    def __init__(self, root: bytes, visibility: Visibility, path: bytes, cache: NamesCache) -> None:
        self._root = root
        self._visibility = visibility
        self._path = path
        self._others: Mapping[bytes, Entry | None] = {}
        with self._opened() as (reader, directory):
            key = path, reader.target(directory, path)
            known = cache.get(key, directory, partial(reader.names, directory, path))
            undecided = self._look_up(reader, directory, known.undecided)
            decided = {entry.name: entry.is_directory for entry in undecided if entry}
        self.names = known.in_order(decided)

    @contextmanager
    def _opened(self) -> Iterator[tuple[EntryReader, int]]:
        """Open the directory by its name. Raises OSError."""
        root = open_directory(self._root, wait=True)
        try:
            reader = EntryReader(root, self._visibility)
            directory = reader.open(self._path)
            try:
                yield reader, directory
            finally:
                os.close(directory)
        finally:
            os.close(root)

    def _look_up(
        self, reader: EntryReader, directory: int, names: Iterable[bytes]
    ) -> Iterator[Entry | None]:
        for name in in_steps(names):
            if name in self._others:
                yield self._others[name]
            else:
                yield reader.entry(directory, self._path, name)

    def contains(self, name: bytes) -> bool:
        """Tell whether there is such a name, by looking at a few."""
        return any(contains(group, name) for group in self.names)

    def replacing(self, others: Mapping[bytes, Entry | None]) -> "DirectoryEntries":
        """Return these entries with others under their names; None: there is none."""
        found = copy(self)
        found._others = others  # noqa: SLF001 - of the same class
        for name, entry in others.items():
            is_directory, is_file = entry and entry.is_directory, entry and not entry.is_directory
            found.names = OrderedNames(
                with_name(found.names.directories, name, is_there=bool(is_directory)),
                with_name(found.names.files, name, is_there=bool(is_file)),
            )
        return found

    def describe(self, names: Iterable[bytes]) -> list[Entry]:
        """Return the entries of some names as they are now, in the same order."""
        return [entry for entry in self.look_up(names) if entry]

    def look_up(self, names: Iterable[bytes]) -> Iterator[Entry | None]:
        """Yield the entry of each name as it is now; None for one that has gone."""
        try:
            with self._opened() as (reader, directory):
                yield from self._look_up(reader, directory, names)
        except OSError as error:
            if http_error(error).status != 404:
                raise http_error(error) from None
            yield from (None for _ in in_steps(names))  # the directory has gone

    def __len__(self) -> int:
        return sum(map(len, self.names))

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.describe([self._name_at(places)])[0]
        return self.describe(map(self._name_at, places))

    def _name_at(self, place: int) -> bytes:
        directories, files = self.names
        count = len(directories)
        return directories[place] if place < count else files[place - count]

    def __iter__(self) -> Iterator[Entry]:
        return filter(None, self.look_up(chain(*self.names)))


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
