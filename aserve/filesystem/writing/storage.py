"""Files that are written beneath a root: whole or not at all, and nothing is lost on the way."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import Self

from aserve.filesystem.visibility import DEFAULT_VISIBILITY, Visibility
from aserve.filesystem.writing import deletion
from aserve.filesystem.writing.deletion import Deleted
from aserve.filesystem.writing.errors import AddOnly, Busy, Exists, Missing, NotWritable, translated
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.locks import locked
from aserve.filesystem.writing.new_file import Found, NewFile
from aserve.filesystem.writing.partial_files import PartialFile, PartialFiles, State
from aserve.filesystem.writing.places import (
    Place,
    check_is_file,
    check_is_ordinary,
    check_path,
    close_directory,
    freed_by,
    open_directory,
    open_place,
    place_of,
    sync_directory,
)
from aserve.filesystem.writing.rules import Guard, Mode, Rules, allow
from aserve.filesystem.writing.space import Reservation, Space
from aserve.filesystem.writing.sweep import remove_abandoned
from aserve.filesystem.writing.temporary import TemporaryFile
from aserve.filesystem.writing.tree import walk
from aserve.http.request_target import TargetPath
from aserve.linux.renameat2 import rename_noreplace

_INTO_ITSELF = "A folder cannot be moved into itself."


class Storage:
    """Writes beneath a root. Every method may wait for a disk, and raises WriteError.

    visibility: that of reading; what it hides can be neither written nor deleted. fsync: whether a
    file and its directory are on the disk before commit returns. Links are never followed, except
    one that the root's own path leads through.
    """

    def __init__(
        self,
        root: Path,
        visibility: Visibility = DEFAULT_VISIBILITY,
        limits: WriteLimits = WriteLimits(),  # noqa: B008 - it is immutable
        *,
        mode: Mode = "all",
        fsync: bool = True,
    ) -> None:
        self._rules = Rules(root, visibility, mode, fsync)
        self._space = Space(root, limits)

    def adding(self) -> Self:
        """Return the same storage, with the same quota, where names can only be added."""
        other = copy(self)
        other._rules = self._rules._replace(mode="add")  # noqa: SLF001 - of the same class
        return other

    def hiding(self, is_denied: Callable[[bytes], bool]) -> Self:
        """Return the same storage, with the same quota, where more paths are hidden."""
        other = copy(self)
        visibility = self._rules.visibility.without(is_denied)
        other._rules = self._rules._replace(visibility=visibility)  # noqa: SLF001 - of the same class
        return other

    def status(self, path: TargetPath) -> os.stat_result | None:
        """Return the status of what is at a path, of a link itself; None where there is nothing.

        For what can be answered before a body is read: commit asks again. Raises WriteError, as
        begin does for the same path.
        """
        with self._place(path) as place:
            return place.status()

    def begin(
        self,
        path: TargetPath,
        size: int | None = None,
        digests: Iterable[str] = (),
        guard: Guard = allow,
        *,
        at_once: bool = False,
    ) -> NewFile:
        """Return a new file that will have a path once it is committed.

        size: in bytes, as announced; None where it is not known. digests: keys of ALGORITHMS in
        digest_cache, of hashes that are made while the file is written. guard: is asked about what
        is there, after all else; commit asks again. at_once: whether commit follows without a wait
        for anything but the disk; then it uses what begin has found and keeps open. Raises
        InvalidName, Hidden, ParentMissing, IsDirectory, NotWritable, TooLarge, NoSpace, Busy or
        StorageFailed, and what guard raises.
        """
        check_path(path, self._rules.visibility)
        with translated():
            place = open_place(self._rules.root, path)
            try:
                found = Found(place, place.status())
                file = self._new_file(path, found, size, digests)
                file.begin(found, guard)
            except BaseException:
                close_directory(place.directory)
                raise
        if at_once:
            file.keep_open(found)
        else:
            close_directory(place.directory)
        return file

    def _new_file(
        self, path: TargetPath, found: Found, size: int | None, digests: Iterable[str]
    ) -> NewFile:
        if found.status:
            check_is_file(found.status)
        temporary = TemporaryFile.create(found.place.directory)
        reservation = Reservation(self._space, temporary, freed_by(found.status))
        return NewFile(self._rules, path, reservation, size, digests)

    def begin_partial(
        self, path: TargetPath, size: int | None, metadata: Mapping[str, str]
    ) -> PartialFile:
        """Return a new file whose bytes may arrive in several requests, open for the first ones.

        size: in bytes, None where it is not known yet. metadata: texts that the caller wants to
        know again, 64 KiB at most. A file that nothing is added to for a day is removed. Raises as
        begin does.
        """
        with self._place(path) as place:
            status = place.status()
            if status:
                check_is_file(status)
            files = PartialFiles(self._rules, self._space)
            return files.begin(place, path, State(place.name, size, metadata))

    def resume(self, directory: TargetPath, token: str, *, adds: bool = True) -> PartialFile:
        """Return a file that is arriving in a directory, open for more.

        token: that of the file that begin_partial has returned, in whatever process. adds: whether
        more will be written or it will be committed, which takes room: without, a file can be
        looked at and discarded on a full disk. Raises Missing where there is none, OtherWriter
        where another request writes to it, and as begin does.
        """
        if directory.segments:
            check_path(directory, self._rules.visibility)
        with place_of(self._rules.root, _child(directory, b".")) as place:
            files = PartialFiles(self._rules, self._space)
            return files.resume(
                place.directory, partial(self._visible_child, directory), token, adds=adds
            )

    def _visible_child(self, directory: TargetPath, name: bytes) -> TargetPath:
        path = _child(directory, name)
        check_path(path, self._rules.visibility)
        return path

    def delete(self, path: TargetPath, guard: Guard, *, tree: bool = False) -> Deleted:
        """Delete a file, or with tree a directory and all below it.

        guard: as for NewFile.commit; it is not called where there is nothing. A tree is deleted
        name by name, the directory last, and what cannot be deleted is told in the result; nothing
        is deleted of one that holds hidden files, or more than 100,000 names. Links in it are
        deleted, and what they lead to is not. Raises Missing, IsDirectory where tree is False,
        NotEmpty, TooManyEntries, AddOnly, what guard raises, and as begin does.
        """
        self._check_may_change()
        with self._place(path) as place:
            deleted = deletion.delete(place, path, self._rules, guard, tree=tree)
        self._space.give_back(deleted.size)
        return deleted

    def make_directory(self, path: TargetPath, *, parents: bool = False) -> None:
        """Make a directory; with parents, those on its path that are missing, too.

        Raises Exists where something has this name, and as begin does.
        """
        check_path(path, self._rules.visibility)
        names = path.segments
        for count in range(1, len(names)) if parents else ():
            with suppress(Exists):
                self._make_one(path._replace(segments=names[:count]))
        self._make_one(path)

    def _make_one(self, path: TargetPath) -> None:
        with self._place(path) as place:
            os.mkdir(place.name, dir_fd=place.directory)
            self._sync(place)

    def move(self, path: TargetPath, target: TargetPath, guard: Guard) -> None:
        """Give a file or a directory another path beneath the root, which must not be taken.

        guard: is asked about what is at path. Raises Missing, Exists, NotEmpty, TooManyEntries or
        AddOnly, what guard raises, and as begin does.
        """
        self._check_may_change()
        with self._place(path) as old, self._place(target) as new:
            checked = deletion.check_tree(old, path, self._rules)  # before the lock: it takes long
            with locked(old.directory, new.directory):
                status = old.status()
                if not status:
                    raise Missing
                check_is_ordinary(status)
                guard(status)
                if stat.S_ISDIR(status.st_mode):
                    _check_not_below(target, path)
                    if (status.st_dev, status.st_ino) != checked:
                        raise Busy
                rename_noreplace(*old, *new)
            self._sync(new)
            self._sync(old)

    def sweep(self, now: float) -> int:
        """Remove what uploads that never ended have left, if it is older than an hour.

        now: in seconds, as time.time returns. Returns how many files. Uploads under way are spared,
        in whatever process they are. Directories that cannot be read are left out.
        """
        with translated():
            top = open_directory(self._rules.root, ())
            try:
                return sum(map(partial(remove_abandoned, now), walk(top, lenient=True)))
            finally:
                close_directory(top)

    @contextmanager
    def _place(self, path: TargetPath) -> Iterator[Place]:
        check_path(path, self._rules.visibility)
        with place_of(self._rules.root, path) as place:
            yield place

    def _check_may_change(self) -> None:
        if self._rules.mode == "add":
            raise AddOnly

    def _sync(self, place: Place) -> None:
        if self._rules.fsync:
            sync_directory(place.directory)


def _child(directory: TargetPath, name: bytes) -> TargetPath:
    return TargetPath((*directory.segments, name), is_directory=False)


def _check_not_below(target: TargetPath, path: TargetPath) -> None:
    below = target.segments[: len(path.segments)] == path.segments
    if below and target.segments != path.segments:
        raise NotWritable(_INTO_ITSELF)
