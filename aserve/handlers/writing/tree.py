"""Which storage a path of the site belongs to, and what may be done there."""

from collections.abc import Mapping
from typing import NamedTuple

from aserve.filesystem.writing.storage import Storage
from aserve.handlers.writing.areas import WriteAreas, WriteMode
from aserve.http.request_target import TargetPath

Names = tuple[bytes, ...]
"""The names on a path, from the root down."""

Storages = Mapping[WriteMode, Storage]
"""The storage of one directory, for each mode."""


class Target(NamedTuple):
    """A name that may be written. path: beneath the storage."""

    storage: Storage
    path: TargetPath
    mode: WriteMode


class WritableTree:
    """The directories of a site that can be written to, each at a path of its own.

    members: all that is served, by its path, files with None. As for reading, the member with the
    longest path decides. The names that lead to members belong to the settings of the server, and
    no request changes them.
    """

    def __init__(self, members: Mapping[Names, Storages | None], areas: WriteAreas) -> None:
        self._members = members
        self._areas = areas
        self._fixed = {names[:depth] for names in members for depth in range(len(names) + 1)}
        self._max_depth = max(map(len, members))

    def find(self, path: TargetPath) -> Target | None:
        """Return what a path is to be written with, None where nothing may be."""
        names = path.segments
        mode = self._areas.mode_in(names[:-1])
        if mode is None or not names or names in self._fixed:
            return None
        owner = self._owner(names)
        storages = self._members.get(owner)
        if not storages:
            return None
        beneath = path._replace(segments=names[len(owner) :]) if owner else path
        return Target(storages[mode], beneath, mode)

    def may_add_to(self, directory: TargetPath) -> bool:
        """Tell whether names may be added to a directory, if it is one."""
        return self.mode_in(directory) is not None

    def mode_in(self, directory: TargetPath) -> WriteMode | None:
        """Return what may be done to the entries of a directory, if it is one; None for nothing."""
        names = directory.segments
        return self._areas.mode_in(names) if self._members.get(self._owner(names)) else None

    def may_delete(self, path: TargetPath) -> bool:
        """Tell whether no rule protects what is below a path that may be written."""
        return not self._areas.protects_below(path.segments)

    def _owner(self, names: Names) -> Names:
        for depth in range(min(len(names), self._max_depth), 0, -1):
            if names[:depth] in self._members:
                return names[:depth]
        return ()
