"""tar archives as POSIX.1-2001 defines them (pax), for GNU tar, bsdtar and all others."""

import stat
from collections.abc import Iterator

from aserve.handlers.archive.layout import Contents, Layout, Member, clip, is_utf_8

_BLOCK = 512
_END = bytes(2 * _BLOCK)

# What the fields of ustar, the older form, can express.
_MAX_NAME = 100  # bytes
_MAX_NUMBER = 8**11 - 1  # of a size or a time

_FILE, _DIRECTORY, _PAX = b"0", b"5", b"x"
_PAX_NAME = b"././@PaxHeader"


class TarLayout(Layout):
    """A tar archive in the format pax: names, sizes and times of any length, exact.

    Its members have no owner: they belong to the user who extracts them.
    """

    @property
    def length(self) -> int:
        """The size of the archive in bytes."""
        return self._end + len(_END)

    def _size(self, member: Member) -> int:
        records = len(_records(member))
        extended = _BLOCK + records + _padding(records) if records else 0
        return extended + _BLOCK + member.size + _padding(member.size)

    def _head(self, member: Member) -> bytes:
        records = _records(member)
        extended = b""
        if records:
            extended = _header(_PAX_NAME, 0o644, len(records), 0, _PAX) + records
            extended += bytes(_padding(len(records)))
        kind = _DIRECTORY if member.is_directory else _FILE
        seconds = min(max(member.modified // 1_000_000_000, 0), _MAX_NUMBER)
        return extended + _header(member.path, member.mode, member.size, seconds, kind)

    def _tail(self, index: int, contents: Contents) -> bytes:  # noqa: ARG002 - Layout
        return bytes(_padding(self._members[index].size))

    def _trailer(self, contents: Contents, start: int, stop: int) -> Iterator[bytes]:  # noqa: ARG002
        yield from clip(_END, start, stop)


def _padding(size: int) -> int:
    """Return how many bytes a content lacks to fill its last block."""
    return -size % _BLOCK


def _records(member: Member) -> bytes:
    """Return the records of a member's extended header, b"" if it needs none."""
    return b"".join(_record(*pair) for pair in _extended(member))


def _extended(member: Member) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the fields of ustar cannot express, as keywords and values of pax."""
    path = member.path
    is_text = is_utf_8(path)
    if len(path) > _MAX_NAME or (is_text and not path.isascii()):
        if not is_text:
            yield b"hdrcharset", b"BINARY"
        yield b"path", path
    seconds, fraction = divmod(member.modified, 1_000_000_000)
    if fraction or not 0 <= seconds <= _MAX_NUMBER:
        yield b"mtime", _decimal(member.modified)
    if member.size > _MAX_NUMBER:
        yield b"size", b"%d" % member.size


def _decimal(nanoseconds: int) -> bytes:
    """Return a time in seconds, with all its decimals."""
    sign = "-" if nanoseconds < 0 else ""
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{sign}{seconds}.{fraction:09}".rstrip("0").rstrip(".").encode()


def _record(keyword: bytes, value: bytes) -> bytes:
    """Return a record of pax, which begins with its own length in decimal digits."""
    rest = b" %b=%b\n" % (keyword, value)
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


def _header(name: bytes, mode: int, size: int, seconds: int, kind: bytes) -> bytes:
    """Return a header of ustar. A name that is too long is cut: pax has it, too."""
    fields = [
        name[:_MAX_NAME].ljust(_MAX_NAME, b"\0"),
        b"%07o\0" % stat.S_IMODE(mode),
        b"%07o\0" % 0,  # user
        b"%07o\0" % 0,  # group
        _size_field(size),
        b"%011o\0" % seconds,
        b" " * 8,  # the checksum, which counts as spaces
        kind,
        bytes(100),  # the target of a link
        b"ustar\x0000",
        bytes(_BLOCK - 265),
    ]
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _size_field(size: int) -> bytes:
    """Return the field of a size; where octal digits do not suffice, in base 256, as GNU tar does.

    pax has such a size as well, but there are programs that look for it only here.
    """
    return b"%011o\0" % size if size <= _MAX_NUMBER else b"\x80" + size.to_bytes(11, "big")
