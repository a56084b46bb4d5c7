"""What an archive is made of: decided before its first byte is sent, and for a bounded number."""

import stat
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.directory_entries import named_entries
from aserve.filesystem.natural_order import contains
from aserve.filesystem.steps import in_steps
from aserve.handlers.archive.layout import Member, PackedMembers
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry, file_validator
from aserve.version import __version__

# Permissions of everybody, with which the kernel need not be asked.
_READABLE_FILE = 0o444
_READABLE_DIRECTORY = 0o555  # to read names, and what they lead to

_NOTE_NAME = b"UNREADABLE.txt"
_NOTE = b"The server could not read these, so they are missing here:\n\n"
_MAX_NOTED = 1_000


class Manifest(NamedTuple):
    """The members of an archive.

    note: the content of the last member, which names what could not be read; b"" if there is none,
    because everything could.
    """

    members: Sequence[Member]
    note: bytes = b""

    def etag(self, name: str) -> str:
        """Return a strong entity tag for the bytes of an archive in the format of that name.

        They follow from the members and the code: another version may arrange them differently.
        """
        digest = blake2b(repr((__version__, name, self.note)).encode(), digest_size=9)
        for member in in_steps(self.members):
            digest.update(repr(member).encode())
        return f'"{digest.hexdigest()}"'


class ManifestReader:
    """Finds what belongs to an archive.

    max_bytes: of all files together. max_files: how many files and directories.
    """

    def __init__(self, files: FileSystem, max_bytes: int, max_files: int) -> None:
        self._files = files
        self._max_bytes = max_bytes
        self._max_files = max_files

    def read(self, directory: TargetPath, folder: bytes, names: Collection[bytes]) -> Manifest:
        """Return the members for a directory, or for those names in it if there are any.

        folder: the first name of all paths. Raises HttpError: 404 for a name that is not there, 403
        if nothing may be read, 413 for more than the limits.
        """
        unreadable: list[bytes] = []
        top = Member(folder + b"/", mode=0o755)
        members = PackedMembers((top,))
        total, newest = 0, None
        for below, entry in in_steps(self._find(directory, names)):
            path = b"/".join((folder, *below))
            if self._is_readable(directory, below, entry):
                members.append(_member(path, entry))
                total += entry.size
                newest = entry.modified if newest is None else max(newest, entry.modified)
            else:
                unreadable.append(path)
            self._check(len(members) - 1 + len(unreadable), total)
        if unreadable and len(members) == 1:
            raise HttpError(403, "Nothing of this may be read.")
        top = top._replace(modified=newest or 0)
        members.replace_first(top)
        return _complete(top, members, unreadable)

    def _find(
        self, directory: TargetPath, names: Collection[bytes]
    ) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        """Yield the entries below a directory, or those of some names in it and below them."""
        if not names:
            yield from self._files.walk(directory)
            return
        chosen = sorted(set(names))
        for name, entry in zip(chosen, self._look_up(directory, chosen), strict=True):
            yield (name,), entry
            if entry.is_directory and self._is_readable(directory, (name,), entry):
                for below, one in self._files.walk(_join(directory, (name,), is_directory=True)):
                    yield (name, *below), one

    def _look_up(self, directory: TargetPath, names: Sequence[bytes]) -> Sequence[Entry]:
        """Return the entries of some names in a directory. Raises HttpError 404 without all."""
        listed = named_entries(self._files.entries(directory))
        if all(any(contains(group, name) for group in listed.names) for name in names):
            found = list(filter(None, listed.look_up(names)))
            if len(found) == len(names):
                return found
        raise HttpError(404, "The parameter name names nothing that is here.")

    def _is_readable(self, directory: TargetPath, names: tuple[bytes, ...], entry: Entry) -> bool:
        """Tell whether a file or a directory can be read, without opening most of them."""
        needed = _READABLE_DIRECTORY if entry.is_directory else _READABLE_FILE
        if entry.mode & needed == needed:
            return True
        path = _join(directory, names, is_directory=entry.is_directory)
        try:
            if entry.is_directory:
                self._files.entries(path)[:1]  # what the first name leads to
            else:
                self._files.find(path, wait=True)
        except HttpError as error:
            if error.status not in {403, 404}:  # 404: it has gone meanwhile
                raise
            return False
        return True

    def _check(self, count: int, total: int) -> None:
        if count > self._max_files:
            limit = f"{self._max_files:,} files and directories"
        elif total > self._max_bytes:
            limit = f"{self._max_bytes:,} bytes"
        else:
            return
        raise HttpError(413, f"This is too much for an archive, which may have {limit}.")


def _join(directory: TargetPath, names: tuple[bytes, ...], *, is_directory: bool) -> TargetPath:
    return TargetPath(directory.segments + names, is_directory)


def _member(path: bytes, entry: Entry) -> Member:
    mode = stat.S_IMODE(entry.mode) & 0o777  # no set-user-ID program is to be extracted
    if entry.is_directory:
        return Member(path + b"/", 0, entry.modified, mode)
    state = file_validator(entry.modified, entry.changed, entry.inode, entry.size).etag
    return Member(path, entry.size, entry.modified, mode, state)


def _complete(top: Member, members: PackedMembers, unreadable: list[bytes]) -> Manifest:
    """Put a note behind the members where some are missing. top: the folder itself."""
    if not unreadable:
        return Manifest(members)
    note = _note(unreadable)
    path = top.path + _NOTE_NAME
    while any(member.path == path for member in in_steps(members)):
        path = top.path + b"_" + path.removeprefix(top.path)
    members.append(Member(path, len(note), top.modified))
    return Manifest(members, note)


def _note(unreadable: list[bytes]) -> bytes:
    more = len(unreadable) - _MAX_NOTED
    lines = unreadable[:_MAX_NOTED] + ([b"... and %d more" % more] if more > 0 else [])
    return _NOTE + b"\n".join(lines) + b"\n"
