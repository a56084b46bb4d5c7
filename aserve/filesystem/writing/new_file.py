"""A file that is being written, and has no name that can be seen until it is whole."""

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Literal, NamedTuple

from aserve.filesystem.writing.digest_cache import ALGORITHMS
from aserve.filesystem.writing.errors import (
    AddOnly,
    Exists,
    Hidden,
    Incomplete,
    translated,
)
from aserve.filesystem.writing.free_names import free_names
from aserve.filesystem.writing.locks import locked
from aserve.filesystem.writing.places import (
    Place,
    check_is_file,
    check_path,
    close_directory,
    freed_by,
    is_sibling_of_another,
    place_of,
    sync_directory,
)
from aserve.filesystem.writing.rules import Guard, Rules
from aserve.filesystem.writing.space import Reservation
from aserve.http.request_target import TargetPath
from aserve.linux.sync_file_range import begin_write_out

Conflict = Literal["error", "replace", "rename"]
"""What is done where the name is taken: nothing, replace the file, or take the next free name."""

_PERMISSIONS = 0o777
_SIBLING = "A compressed form of a file that is here would be sent in its place."
_WRITE_OUT_STEP = 2 << 20  # bytes: a millisecond of a fast disk
_MAX_ATTEMPTS = 100


class Written(NamedTuple):
    """What was written. path: where, which differs from the one asked for after a conflict.

    is_new: whether the name was free. status: of the file, as its next reader finds it. digests:
    those that begin was asked for.
    """

    path: TargetPath
    is_new: bool
    status: os.stat_result
    digests: Mapping[str, bytes]


class Found(NamedTuple):
    """What was found where a file is to be. status: None where nothing was there."""

    place: Place
    status: os.stat_result | None


class _AbortedOnError:
    """A context that aborts a file where an error leaves it."""

    __slots__ = ("_file",)

    def __init__(self, file: "NewFile") -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind:
            self._file.abort()


class NewFile:
    """Bytes that become a file when commit is called, and nothing if it is not.

    Used by one thread at a time; every method may wait for a disk.
    """

    def __init__(
        self,
        rules: Rules,
        path: TargetPath,
        reservation: Reservation,
        announced: int | None,
        digests: Iterable[str] = (),
    ) -> None:
        self._rules = rules
        self._path = path
        self._temporary = reservation.temporary
        self._reservation = reservation
        self._announced = announced
        self._hashes = {algorithm: ALGORITHMS[algorithm]() for algorithm in digests}
        self._attributes: tuple[int, int, int] | None = None  # owner, group and mode, if set
        self._found: Found | None = None
        self._written_out = 0
        self.size = 0
        """How many bytes were written."""

    def begin(self, found: Found, guard: Guard) -> None:
        """Take room for the bytes that were announced, then ask guard. Raises as write does."""
        with self._aborted_on_error(), translated():
            self._reservation.grow_to(self._announced or 0)
            guard(found.status)

    def keep_open(self, found: Found) -> None:
        """Let commit, which follows at once, use what was found, and close the directory."""
        self._found = found

    def write(self, data: bytes | memoryview) -> None:
        """Append data. After an error nothing more can be written, and the space is free again.

        Raises Incomplete for more bytes than were announced, TooLarge, NoSpace or StorageFailed.
        """
        size = self.size + len(data)
        with self._aborted_on_error(), translated():
            if self._announced is not None and size > self._announced:
                raise Incomplete
            self._reservation.write_to(size)
            _write_all(self._temporary.descriptor, data)
            for digest in self._hashes.values():
                digest.update(data)
            self._write_out(size)
        self.size = size

    def _write_out(self, size: int) -> None:
        """Let the disk begin while the client still sends: less is left for fsync to wait for."""
        if self._rules.fsync and size - self._written_out >= _WRITE_OUT_STEP:
            start, self._written_out = self._written_out, size
            begin_write_out(self._temporary.descriptor, start, size - start)

    def _aborted_on_error(self) -> AbstractContextManager[None]:
        return _AbortedOnError(self)

    def digests(self) -> dict[str, bytes]:
        """Return the hashes of what was written so far, by the algorithms given to begin."""
        return {algorithm: digest.digest() for algorithm, digest in self._hashes.items()}

    def commit(self, guard: Guard, conflict: Conflict = "replace") -> Written:
        """Give the file its name, and return what it is now; the last call, whatever its outcome.

        The file is on the disk, if that was asked for, before it has the name, so that not even a
        loss of power leaves half of it. A new name is taken in one step of the kernel, which fails
        if any other process took it. To replace a file, guard is asked about it and the rename
        follows under the directory's lock, as locked says. The file keeps the permissions of the
        one that it replaces, and its owner where the process may set it; other hard links keep the
        old bytes. Raises what guard raises, Incomplete, Exists, AddOnly, IsDirectory, IsLink,
        IsSpecial, ParentMissing, NotWritable, NoSpace, Busy or StorageFailed; all is as it was
        then, except that after StorageFailed nothing can be known.
        """
        try:
            if self._announced not in {None, self.size}:
                raise Incomplete
            if self._found:
                with translated():
                    return self._commit(self._found, guard, conflict)
            # The directory may be another one by now, or may be outside of the root.
            with place_of(self._rules.root, self._path) as place:
                return self._commit(Found(place, place.status()), guard, conflict)
        finally:
            self.abort()

    def _commit(self, found: Found, guard: Guard, conflict: Conflict) -> Written:
        self._reservation.refresh()
        self._keep_attributes(found.status)
        if self._rules.fsync:
            os.fsync(self._temporary.descriptor)
        written = self._publish(found, guard, conflict)
        if self._rules.fsync:
            sync_directory(found.place.directory)
        return written

    def _publish(self, found: Found, guard: Guard, conflict: Conflict) -> Written:
        place = found.place
        if not (found.status or self._temporary.name):
            # The kernel gives a name only if it is free, so no lock is needed to be sure that
            # there is nothing, as guard was told.
            guard(None)
            try:
                return self._add(place, place.name)
            except FileExistsError:
                pass  # another program has just made it
        with locked(place.directory):
            return self._publish_locked(place, guard, conflict)

    def _publish_locked(self, place: Place, guard: Guard, conflict: Conflict) -> Written:
        for _ in range(_MAX_ATTEMPTS):
            status = place.status()
            if status:
                check_is_file(status)
            guard(status)
            try:
                if status is None:
                    return self._add(place, place.name)
            except FileExistsError:
                continue  # another program has just made it
            return self._resolve_conflict(place, status, conflict)
        raise Exists

    def _resolve_conflict(
        self, place: Place, status: os.stat_result, conflict: Conflict
    ) -> Written:
        if conflict == "rename":
            return self._add_beside(place)
        if conflict == "error":
            raise Exists
        if self._rules.mode == "add":
            raise AddOnly
        self._reservation.check(replaces=freed_by(status))
        self._keep_attributes(status)
        self._temporary.replace(*place)
        return self._written(place.name, is_new=False)

    def _add_beside(self, place: Place) -> Written:
        for name in free_names(place.name):
            with suppress(FileExistsError, Hidden):
                check_path(self._path_with(name), self._rules.visibility)
                return self._add(place, name)
        raise Exists

    def _add(self, place: Place, name: bytes) -> Written:
        if self._rules.mode == "add" and is_sibling_of_another(place, name):
            raise AddOnly(_SIBLING)
        self._reservation.check(replaces=0)
        self._temporary.give_name(place.directory, name)
        return self._written(name, is_new=True)

    def _written(self, name: bytes, *, is_new: bool) -> Written:
        status = os.fstat(self._temporary.descriptor)
        self._reservation.release(stored=True)
        return Written(self._path_with(name), is_new, status, self.digests())

    def _path_with(self, name: bytes) -> TargetPath:
        *parents, own_name = self._path.segments
        return self._path if name == own_name else self._path._replace(segments=(*parents, name))

    def _keep_attributes(self, status: os.stat_result | None) -> None:
        """Give the file the owner and the permissions of the one that it will replace."""
        if not status or not stat.S_ISREG(status.st_mode):
            return
        mode = stat.S_IMODE(status.st_mode) & _PERMISSIONS
        attributes = status.st_uid, status.st_gid, mode
        if attributes == self._attributes:
            return
        descriptor = self._temporary.descriptor
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
            with suppress(PermissionError):
                os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, mode)
        self._attributes = attributes

    def abort(self) -> None:
        """Give the space back, unless the file has its name. Does nothing the second time."""
        if self._temporary.descriptor < 0:
            return
        self._reservation.release(stored=False)
        try:  # noqa: SIM105 - suppress costs three calls
            self._temporary.close()
        except OSError:
            pass
        if self._found:
            close_directory(self._found.place.directory)
            self._found = None


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # the disk is full in a moment, or a signal came
        data = memoryview(data)[written:]
        written = os.write(descriptor, data)
