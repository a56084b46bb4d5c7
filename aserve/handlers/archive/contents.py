"""The contents of an archive's members: read from their files, as long as those do not change."""

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.opened_file import validator_of
from aserve.handlers.archive.checksums import STEP, Checksum, ChecksumCache
from aserve.handlers.archive.layout import PIECE_SIZE, Member
from aserve.handlers.archive.manifest import Manifest
from aserve.http.messages import ByteSource, HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document, Representation

_UNKNOWN = -1


class FileContents:
    """Reads the files of an archive, one after the other: never more than one of them is open.

    directory: where the files are, by their paths in the archive without the first name.
    has_checksums: whether the archive has them.
    """

    def __init__(
        self,
        files: FileSystem,
        directory: TargetPath,
        manifest: Manifest,
        cache: ChecksumCache,
        *,
        has_checksums: bool,
    ) -> None:
        self._files = files
        self._directory = directory.segments
        self._members = manifest.members
        self._note = manifest.note
        self._cache = cache
        self._has_checksums = has_checksums
        # Whatever the cache evicts: the directory at the end of a ZIP archive needs all of them.
        self._checksums = array("q", (_UNKNOWN,)) * len(manifest.members)
        if manifest.note:
            self._checksums[-1] = crc32(manifest.note)

    def read(self, index: int, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop) of a member's file, and b"" for others that are read first.

        Raises OSError if the file cannot be read, or is not in the state that the archive is for.
        """
        member = self._members[index]
        if not member.state:
            yield self._note[start:stop]
            return
        known = self._cache.last_before(member.state, start, member.size)
        is_complete = stop == member.size
        with self._open(member) as source:
            # Where it costs no reading, the checksum is worth having even if it is not needed yet.
            if self._is_wanted(index) and (is_complete or known.position == start):
                yield from self._read_with_checksum(index, source, known, start, stop)
            else:
                for position in range(start, stop, PIECE_SIZE):
                    yield _read(member, source, position, min(position + PIECE_SIZE, stop))

    def _is_wanted(self, index: int) -> bool:
        return self._has_checksums and not self.has_checksum(index)

    def has_checksum(self, index: int) -> bool:
        """Tell whether the checksum of a member is known, so that its file need not be read."""
        if self._checksums[index] == _UNKNOWN:
            member = self._members[index]
            known = self._cache.last_before(member.state, member.size, member.size)
            if known.position == member.size:
                self._checksums[index] = known.crc
        return self._checksums[index] != _UNKNOWN

    def checksum(self, index: int) -> int:
        """Return the CRC-32 of a member's whole file, which is known."""
        return self._checksums[index]

    def _read_with_checksum(
        self, index: int, source: ByteSource, known: Checksum, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield the bytes [start, stop), and compute the checksum from the known one on."""
        member = self._members[index]
        position, crc = known
        while position < stop:
            next_step = position - position % STEP + STEP
            limit = start if position < start else stop
            end = min(position + PIECE_SIZE, next_step, limit)
            data = _read(member, source, position, end)
            crc = crc32(data, crc)
            if end in {next_step, member.size}:
                self._cache.add(member.state, Checksum(end, crc))
            if end == member.size:
                self._checksums[index] = crc
            yield data if position >= start else b""
            position = end

    @contextmanager
    def _open(self, member: Member) -> Iterator[ByteSource]:
        """Open the file of a member, if it is still in the state that the archive is for."""
        segments = self._directory + tuple(member.path.split(b"/")[1:])
        try:
            found = self._files.find(TargetPath(segments, is_directory=False), wait=True)
        except HttpError as error:
            raise _failure(member, error.detail) from None
        if not isinstance(found, Document):
            raise _failure(member, "it has been replaced by a directory")
        plain, *siblings = found.representations
        for sibling in siblings:
            sibling.source.close()
        try:
            if _state_of(plain) != member.state or plain.length != member.size:
                raise _failure(member, "it has changed")
            yield plain.source
        finally:
            plain.source.close()


def _state_of(representation: Representation) -> str:
    """Return the state of an open file, as a manifest has it: its tag may be of its content."""
    try:
        return validator_of(os.fstat(representation.source.fileno())).etag
    except OSError:  # it is no file
        return representation.validator.etag


def _read(member: Member, source: ByteSource, start: int, stop: int) -> bytes:
    try:
        data = source.read(start, stop)
    except OSError as error:
        raise _failure(member, error.strerror or "it cannot be read") from error
    if len(data) < stop - start or not source.is_unchanged():
        raise _failure(member, "it has changed")
    return data


def _failure(member: Member, reason: str) -> OSError:
    """Return the error that ends an archive early: it is logged, and the connection is closed."""
    return OSError(f"{member.path.decode(errors='surrogateescape')!a}: {reason}")
