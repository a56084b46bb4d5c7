"""Several directories and files at paths of their own, as one file system."""

import heapq
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.directory_entries import DirectoryEntries
from aserve.filesystem.entries import entry_of
from aserve.http.messages import HttpError, NotFound
from aserve.http.request_target import TargetPath
from aserve.http.resources import DirectoryWithoutIndex, DirectoryWithoutSlash, Entry, Resource

Names = tuple[bytes, ...]
"""The names on a path, from the root down."""

Found = tuple[Names, Entry]
"""An entry that a walk has found, and the names that lead to it."""


_DIRECTORY_MODE = stat.S_IFDIR | 0o755
"""Of a directory that is on no disk."""


class Member(NamedTuple):
    """What is combined with others. path: of the directory or the file on disk."""

    files: FileSystem
    path: bytes
    is_directory: bool

    def entry(self, name: bytes) -> Entry | None:
        """Return what it is in a directory; None where it is not there any more."""
        try:
            entry = entry_of(name, os.stat(self.path))
        except OSError:
            return None
        return entry if entry and entry.is_directory == self.is_directory else None


class CombinedFileSystem:
    """Directories and files, each at a path of its own; one at () is the root of all others.

    The member with the longest path decides what a path leads to, and hides what others have there.
    A directory on the way to a member exists even if no disk has it. Where one file is all there
    is, the root leads to it. closed: paths at which others are that must not be seen.
    """

    def __init__(self, members: Mapping[Names, Member], closed: Iterable[Names] = ()) -> None:
        nothing = Member(_Nothing(), b"", is_directory=False)
        self._members = {
            (): nothing._replace(is_directory=True),
            **members,
            **{names: nothing for names in closed},  # noqa: C420 - a test counts what dict gets
        }
        self._max_depth = max(map(len, self._members))
        self._children = _children(members)
        """The directories on the way to members, each with its names that lead there."""
        self._only_file = _only_file(members)

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path, as FileSystem says."""
        names = path.segments
        if self._only_file and not names:
            location = path._replace(segments=self._only_file, is_directory=False).location()
            raise HttpError(302, "One file is all that is here.", (("Location", location),))
        is_on_the_way = names in self._children
        if not path.is_directory and (is_on_the_way or self._is_directory_member(names)):
            return DirectoryWithoutSlash()
        owner = self._owner(names)
        try:
            return self._members[owner].files.find(_beneath(owner, path), wait=wait)
        except NotFound as error:
            if is_on_the_way:
                return DirectoryWithoutIndex(error.absent)
            raise

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        """Return the visible entries of a directory, and those that lead to members."""
        names = path.segments
        owner, children = self._owner(names), self._children.get(names, frozenset())
        own: Sequence[Entry]
        try:
            own = self._members[owner].files.entries(_beneath(owner, path))
        except HttpError as error:
            if not children or error.status != 404:
                raise
            own = ()
        if not children:
            return own
        others = {name: self._entry((*names, name)) for name in children}
        if isinstance(own, DirectoryEntries):
            for one in own.describe(filter(own.contains, children)):
                if self._belongs((*names, one.name), one, owner):
                    del others[one.name]
            return own.replacing(others)
        return [other for other in others.values() if other]

    def entry(self, path: TargetPath) -> Entry:
        """Return what a path leads to, as FileSystem says."""
        names = path.segments
        owner, is_on_the_way = self._owner(names), names in self._children
        try:
            found = self._members[owner].files.entry(_beneath(owner, path))
            if found.is_directory or not is_on_the_way:
                return found._replace(name=names[-1] if names else b"")
        except HttpError as error:
            if not is_on_the_way or error.status != 404:
                raise
        return self._directory_on_the_way(names)

    def walk(self, path: TargetPath) -> Iterator[Found]:
        """Yield every visible entry below a directory, as FileSystem says."""
        start = path.segments
        members = [names for names in self._members if _is_below(names, start)]
        walks = [self._walk_own(start), *map(self._walk_member, members)]
        merged = heapq.merge(*walks, self._on_the_way(start), key=itemgetter(0))
        # A directory on the way to a member may be there as well: the first one is the disk's.
        for names, same in groupby(merged, key=itemgetter(0)):
            yield names[len(start) :], next(same)[1]

    def _walk_own(self, start: Names) -> Iterator[Found]:
        """Yield what the owner of a path has below it, as far as no other member is there."""
        owner = self._owner(start)
        inner = TargetPath(start[len(owner) :], is_directory=True)
        try:
            for names, entry in self._members[owner].files.walk(inner):
                if self._belongs((*start, *names), entry, owner):
                    yield (*start, *names), entry
        except HttpError as error:
            if start not in self._children or error.status != 404:
                raise

    def _walk_member(self, names: Names) -> Iterator[Found]:
        """Yield a member and what is below it; one that cannot be read is not entered."""
        member = self._members[names]
        if entry := member.entry(names[-1]):
            yield names, entry
            try:
                yield from self._walk_own(names)
            except HttpError as error:
                if error.status not in {403, 404}:
                    raise

    def _on_the_way(self, start: Names) -> list[Found]:
        found = [(names, self._entry(names)) for names in self._children if _is_below(names, start)]
        return sorted((names, entry) for names, entry in found if entry)

    def _owner(self, names: Names) -> Names:
        """Return the path of the member that decides about a path."""
        for depth in range(min(len(names), self._max_depth), 0, -1):
            if names[:depth] in self._members:
                return names[:depth]
        return ()

    def _is_directory_member(self, names: Names) -> bool:
        return names in self._members and self._members[names].is_directory

    def _belongs(self, names: Names, entry: Entry, owner: Names) -> bool:
        """Tell whether a member's entry is what its path leads to."""
        is_replaced = names in self._children and not entry.is_directory
        return not is_replaced and self._owner(names) == owner

    def _entry(self, names: Names) -> Entry | None:
        """Return the entry of a member, or of a directory on the way to one."""
        member = self._members.get(names)
        entry = member.entry(names[-1]) if member else None
        if entry or names not in self._children:
            return entry
        return self._directory_on_the_way(names)

    def _directory_on_the_way(self, names: Names) -> Entry:
        """Return the entry of a directory that no disk has: as old as the newest one in it."""
        below = [self._entry((*names, name)) for name in self._children[names]]
        modified = max((one.modified for one in below if one), default=0)
        name = names[-1] if names else b""
        return Entry(name, True, 0, modified, mode=_DIRECTORY_MODE)


class _Nothing:
    """The root where only others are: nothing but the way to them."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:  # noqa: ARG002 - FileSystem
        raise NotFound

    def entries(self, path: TargetPath) -> Sequence[Entry]:  # noqa: ARG002 - FileSystem
        raise NotFound

    def entry(self, path: TargetPath) -> Entry:  # noqa: ARG002 - FileSystem
        raise NotFound

    def walk(self, path: TargetPath) -> Iterator[Found]:  # noqa: ARG002 - FileSystem
        raise NotFound


def _beneath(owner: Names, path: TargetPath) -> TargetPath:
    return path._replace(segments=path.segments[len(owner) :])


def _is_below(names: Names, start: Names) -> bool:
    return len(names) > len(start) and names[: len(start)] == start


def _children(members: Mapping[Names, Member]) -> Mapping[Names, frozenset[bytes]]:
    children: dict[Names, frozenset[bytes]] = {}
    for names in members:
        for depth, name in enumerate(names):
            children[names[:depth]] = children.get(names[:depth], frozenset()) | {name}
    return children


def _only_file(members: Mapping[Names, Member]) -> Names | None:
    """Return the path of a file that is all there is, None where there is more."""
    ((names, member),) = members.items() if len(members) == 1 else [((), None)]
    return names if member and not member.is_directory else None
