"""Files that arrive in several requests: what has arrived stays, also when the server restarts.

Beside the file that is to be there are two hidden ones: the bytes so far, whose number is the
offset, and a state in JSON. Both have a token in their names, which only the client knows.
"""

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, Self

from aserve.filesystem.writing.errors import (
    Incomplete,
    Missing,
    OtherWriter,
    StorageFailed,
    translated,
)
from aserve.filesystem.writing.new_file import Conflict, Found, NewFile, Written
from aserve.filesystem.writing.places import Place, freed_by, sync_directory
from aserve.filesystem.writing.rules import Guard, Rules
from aserve.filesystem.writing.space import Reservation, Space
from aserve.filesystem.writing.sweep import MAX_PARTIAL_AGE_S
from aserve.filesystem.writing.temporary import PARTIAL_PREFIX, STATE_SUFFIX, TemporaryFile
from aserve.http.request_target import TargetPath

_TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
_TOKEN_SIZE = 16  # random bytes
_MAX_STATE_SIZE = 131_072  # bytes


class State(NamedTuple):
    """What is known of a file that is arriving.

    name: that it will have. size: in bytes, None as long as it is not known. metadata: what the
    caller wants to know again.
    """

    name: bytes
    size: int | None
    metadata: Mapping[str, str]

    def encode(self) -> bytes:
        """Return it as JSON."""
        members = {"name": os.fsdecode(self.name), "size": self.size}
        return json.dumps({**members, "metadata": dict(self.metadata)}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what encode has made of a state. Raises ValueError, KeyError or TypeError."""
        members = json.loads(data)
        return cls(os.fsencode(members["name"]), members["size"], members["metadata"])


class Parts(NamedTuple):
    """The two hidden files of a token in an open directory."""

    directory: int
    token: str

    @property
    def data_name(self) -> bytes:
        """The name of the bytes so far."""
        return PARTIAL_PREFIX + self.token.encode()

    @property
    def state_name(self) -> bytes:
        """The name of the state."""
        return self.data_name + STATE_SUFFIX

    def write_state(self, state: State, *, fsync: bool) -> None:
        """Store a state, whole or not at all. Raises OSError."""
        file = TemporaryFile.create(self.directory)
        try:
            os.write(file.descriptor, state.encode())
            if fsync:
                os.fsync(file.descriptor)
            file.replace(self.directory, self.state_name)
        finally:
            file.close()

    def read_state(self) -> State:
        """Return the state. Raises Missing, StorageFailed where it is none, and OSError."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.state_name, flags, dir_fd=self.directory)
        except FileNotFoundError:
            raise Missing from None
        try:
            return State.decode(os.read(descriptor, _MAX_STATE_SIZE))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailed from error
        finally:
            os.close(descriptor)

    def open_data(self, *, is_new: bool) -> TemporaryFile:
        """Open the bytes so far. Raises Missing, OtherWriter or OSError."""
        try:
            return TemporaryFile.open(self.directory, self.data_name, is_new=is_new)
        except FileNotFoundError:
            raise Missing from None
        except BlockingIOError:
            raise OtherWriter from None

    def remove_state(self) -> None:
        """Remove the state; if that fails, a sweep does it."""
        with suppress(OSError):
            os.unlink(self.state_name, dir_fd=self.directory)


class PartialFile(NewFile):
    """A file that is arriving, open for one writer at a time.

    size is the offset: how many bytes have arrived so far. abort closes the file, and keeps it; so
    does an error. commit gives it its name; after an error of commit, too, all is kept.
    """

    def __init__(
        self, rules: Rules, path: TargetPath, reservation: Reservation, token: str, state: State
    ) -> None:
        super().__init__(rules, path, reservation, state.size)
        self.state = state
        self.token = token
        """What Storage.resume finds it by."""
        self.size = self._written_out = reservation.written

    @property
    def path(self) -> TargetPath:
        """The path that the file will have."""
        return self._path

    def expires_at(self) -> float:
        """Return when the file may be removed if nothing is added, in seconds as time.time."""
        with translated():
            return os.fstat(self._temporary.descriptor).st_mtime + MAX_PARTIAL_AGE_S

    @property
    def _parts(self) -> Parts:
        return Parts(self._temporary.directory, self.token)

    def set_size(self, size: int) -> None:
        """Say how many bytes the whole file has, once that is known.

        Raises Incomplete where more have arrived, TooLarge or NoSpace, StorageFailed.
        """
        with self._aborted_on_error(), translated():
            if size < self.size:
                raise Incomplete
            self._reservation.grow_to(size)
            self._write_state(self.state._replace(size=size))
            self._announced = size

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Store other texts that the caller wants to know again. Raises NoSpace, StorageFailed."""
        with self._aborted_on_error(), translated():
            self._write_state(self.state._replace(metadata=metadata))

    def _write_state(self, state: State) -> None:
        self._parts.write_state(state, fsync=self._rules.fsync)
        self.state = state

    def sync(self) -> None:
        """Wait until all that has arrived is on the disk, if that was asked for."""
        if self._rules.fsync:
            with translated():
                os.fsync(self._temporary.descriptor)

    def truncate(self, size: int) -> None:
        """Keep only the first bytes, as after a wrong checksum of those behind."""
        with self._aborted_on_error(), translated():
            os.ftruncate(self._temporary.descriptor, size)
            self._reservation.truncate_to(size)
            self.size = size
            self._written_out = min(size, self._written_out)

    def discard(self) -> None:
        """Remove the file and its state; the space is free again."""
        self._parts.remove_state()
        super().abort()

    def abort(self) -> None:
        """Close the file for this writer, and keep what has arrived; twice does no harm."""
        if self._temporary.name:
            self._temporary.keep()
            self._reservation.keep()
        super().abort()

    def _commit(self, found: Found, guard: Guard, conflict: Conflict) -> Written:
        written = super()._commit(found, guard, conflict)
        self._parts.remove_state()
        return written


class PartialFiles:
    """The files that are arriving below a root. Methods raise WriteError and OSError."""

    def __init__(self, rules: Rules, space: Space) -> None:
        self._rules = rules
        self._space = space

    def begin(self, place: Place, path: TargetPath, state: State) -> PartialFile:
        """Return a new file, which exists on the disk from now on."""
        parts = Parts(place.directory, secrets.token_urlsafe(_TOKEN_SIZE))
        parts.write_state(state, fsync=self._rules.fsync)
        try:
            reservation = self._open(place, parts, state.size or 0, is_new=True)
        except BaseException:
            parts.remove_state()
            raise
        if self._rules.fsync:
            sync_directory(place.directory)
        return PartialFile(self._rules, path, reservation, parts.token, state)

    def resume(
        self,
        directory: int,
        path_of: Callable[[bytes], TargetPath],
        token: str,
        *,
        adds: bool,
    ) -> PartialFile:
        """Return the file of a token in an open directory. path_of: of a name in there."""
        if not _TOKEN.fullmatch(token):
            raise Missing
        parts = Parts(directory, token)
        state = parts.read_state()
        path = path_of(state.name)
        place, size = Place(directory, state.name), (state.size or 0) if adds else None
        reservation = self._open(place, parts, size, is_new=False)
        return PartialFile(self._rules, path, reservation, parts.token, state)

    def _open(self, place: Place, parts: Parts, size: int | None, *, is_new: bool) -> Reservation:
        """Return the open file with room for size bytes in all, None for no room."""
        data = parts.open_data(is_new=is_new)
        try:
            reservation = Reservation(self._space, data, freed_by(place.status()))
            self._take_room(reservation, size)
        except BaseException:
            if not is_new:
                data.keep()
            data.close()
            raise
        return reservation

    @staticmethod
    def _take_room(reservation: Reservation, size: int | None) -> None:
        offset = os.fstat(reservation.temporary.descriptor).st_size
        reservation.resume_at(offset)
        try:
            if size is not None:
                reservation.grow_to(max(offset, size))
        except BaseException:
            reservation.keep()
            raise
