"""ZIP archives of stored files, by PKWARE's APPNOTE 6.3.10, whose sections the comments name."""

import stat
from collections.abc import Iterator, Sequence
from struct import Struct
from time import gmtime, monotonic

from aserve.filesystem.steps import in_steps
from aserve.handlers.archive.layout import Contents, Layout, Member, clip, is_utf_8

_LOCAL_HEADER = Struct("<4s5H3I2H")  # 4.3.7
_NO_DESCRIPTOR = Struct("")
_DESCRIPTOR = Struct("<4s3I")  # 4.3.9
_DESCRIPTOR_64 = Struct("<4sI2Q")
_CENTRAL_HEADER = Struct("<4s6H3I5H2I")  # 4.3.12
_END_64 = Struct("<4sQ2H2I4Q")  # 4.3.14
_LOCATOR_64 = Struct("<4sIQI")  # 4.3.15
_END = Struct("<4s4H2IH")  # 4.3.16
_EXTRA = Struct("<2H")  # 4.5.1: identifier and size
_TIMESTAMP = Struct("<2HBi")  # 0x5455, by Info-ZIP: which times follow, and the modification time
_UINT64 = Struct("<Q")

_MAX_16 = 0xFFFF
_MAX_32 = 0xFFFFFFFF
"""These values themselves mean that the real one is in a ZIP64 field (4.4.1.4)."""

_VERSION, _VERSION_64 = 20, 45  # 4.4.3: the first with directories, and the first with ZIP64
_MADE_BY = 3 << 8 | _VERSION_64  # 4.4.2: on Unix, so the external attributes have a mode
_HAS_DESCRIPTOR, _UTF_8 = 1 << 3, 1 << 11  # 4.4.4
_MS_DOS_DIRECTORY = 0x10

# What the date of MS-DOS can express: 1980 to 2107, in steps of two seconds.
_FIRST_DATE, _LAST_DATE = 315_532_800, 4_354_819_198

_READS_PER_PIECE = 64  # for checksums, of at most 16 MiB; then what is ready is sent

# 4.4.17.1 forbids the backslash. Windows takes it for a separator, so a name could climb out of the
# directory that an archive is extracted to.
_BACKSLASH, _FULLWIDTH_BACKSLASH = b"\\", "\N{FULLWIDTH REVERSE SOLIDUS}".encode()


class ZipLayout(Layout):
    """A ZIP archive whose members are stored, and so as long as their files.

    A checksum follows its content in a data descriptor, since it is known only then; the sizes are
    in front of it as well, for programs that read an archive from its start. Dates are in UTC.
    """

    has_checksums = True

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members)
        self._central_size = sum(map(self._central_header_size, in_steps(range(len(members)))))

    @property
    def length(self) -> int:
        """The size of the archive in bytes."""
        return self._end + self._central_size + len(self._end_of_central_directory())

    def _size(self, member: Member) -> int:
        return len(self._head(member)) + member.size + _descriptor(member).size

    def _head(self, member: Member) -> bytes:
        name, extra = _name(member), _local_extra(member)
        size = min(member.size, _MAX_32)
        fixed = (_version(member), _flags(member, name), 0, *_dos_time(member.modified))
        sizes = (0, size, size, len(name), len(extra))
        return _LOCAL_HEADER.pack(b"PK\3\4", *fixed, *sizes) + name + extra

    def _tail(self, index: int, contents: Contents) -> bytes:
        member = self._members[index]
        if not member.size:
            return b""
        crc = contents.checksum(index)
        return _descriptor(member).pack(b"PK\7\10", crc, member.size, member.size)

    def _trailer(self, contents: Contents, start: int, stop: int) -> Iterator[bytes]:
        reads = 0
        for index in in_steps(range(len(self._members)), clock=monotonic):
            size = self._central_header_size(index)
            if start < size and stop > 0:
                for _ in self._await_checksum(index, contents):
                    reads += 1
                    if reads % _READS_PER_PIECE == 0:
                        yield b""
                yield from clip(self._central_header(index, contents), start, stop)
            start, stop = start - size, stop - size
        yield from clip(self._end_of_central_directory(), start, stop)

    def _central_header_size(self, index: int) -> int:
        member = self._members[index]
        extra = _central_extra(member, self._offsets[index])
        return _CENTRAL_HEADER.size + len(_name(member)) + len(extra)

    def _central_header(self, index: int, contents: Contents) -> bytes:
        member, offset = self._members[index], self._offsets[index]
        name, extra = _name(member), _central_extra(member, offset)
        crc = contents.checksum(index) if member.size else 0
        size = min(member.size, _MAX_32)
        fixed = (_version(member), _flags(member, name), 0, *_dos_time(member.modified))
        sizes = (crc, size, size, len(name), len(extra), 0)
        place = (0, 0, _attributes(member), min(offset, _MAX_32))
        return _CENTRAL_HEADER.pack(b"PK\1\2", _MADE_BY, *fixed, *sizes, *place) + name + extra

    def _end_of_central_directory(self) -> bytes:
        count, size, offset = len(self._members), self._central_size, self._end
        limited = (*(min(count, _MAX_16),) * 2, min(size, _MAX_32), min(offset, _MAX_32))
        end = _END.pack(b"PK\5\6", 0, 0, *limited, 0)
        if count < _MAX_16 and size < _MAX_32 and offset < _MAX_32:
            return end
        versions = (_MADE_BY, _VERSION_64)
        rest = _END_64.size - 12  # 4.3.14.1: without the signature and this number itself
        end_64 = _END_64.pack(b"PK\6\6", rest, *versions, 0, 0, count, count, size, offset)
        return end_64 + _LOCATOR_64.pack(b"PK\6\7", 0, offset + size, 1) + end


def _is_large(member: Member) -> bool:
    return member.size >= _MAX_32


def _descriptor(member: Member) -> Struct:
    """Return the form of a member's data descriptor: none for one without content."""
    if not member.size:
        return _NO_DESCRIPTOR
    return _DESCRIPTOR_64 if _is_large(member) else _DESCRIPTOR  # 4.3.9.2


def _version(member: Member) -> int:
    return _VERSION_64 if _is_large(member) else _VERSION


def _flags(member: Member, name: bytes) -> int:
    return (_HAS_DESCRIPTOR if member.size else 0) | (_UTF_8 if is_utf_8(name) else 0)


def _attributes(member: Member) -> int:
    """Return the external attributes: of Unix in the upper half, of MS-DOS in the lower one."""
    if member.is_directory:
        return (stat.S_IFDIR | member.mode) << 16 | _MS_DOS_DIRECTORY
    return (stat.S_IFREG | member.mode) << 16


def _name(member: Member) -> bytes:
    # Where it is no text in UTF-8 it stays as it is: on Unix the file is found under its own name.
    return member.path.replace(_BACKSLASH, _FULLWIDTH_BACKSLASH)


def _local_extra(member: Member) -> bytes:
    sizes = [member.size] * 2 if _is_large(member) else []  # 4.5.3: here always both
    return _zip64_extra(sizes) + _timestamp(member)


def _central_extra(member: Member, offset: int) -> bytes:
    large = [number for number in (member.size, member.size, offset) if number >= _MAX_32]
    return _zip64_extra(large) + _timestamp(member)


def _zip64_extra(numbers: list[int]) -> bytes:
    if not numbers:
        return b""
    data = b"".join(map(_UINT64.pack, numbers))
    return _EXTRA.pack(1, len(data)) + data


def _timestamp(member: Member) -> bytes:
    """Return the modification time, which is in UTC, if 31 bits can express it.

    Programs do not agree on whether the 32nd is a sign; beyond, there is the date of MS-DOS.
    """
    seconds = member.modified // 1_000_000_000
    return _TIMESTAMP.pack(0x5455, 5, 1, seconds) if 0 <= seconds < 1 << 31 else b""


def _dos_time(modified: int) -> tuple[int, int]:
    """Return the time and the date of MS-DOS (4.4.6), the closest to a POSIX time in nanoseconds.

    In UTC, since the archive must not depend on where, or in which half of a year, it is made.
    """
    seconds = min(max(modified // 1_000_000_000, _FIRST_DATE), _LAST_DATE)
    year, month, day, hour, minute, second, *_ = gmtime(seconds)
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
