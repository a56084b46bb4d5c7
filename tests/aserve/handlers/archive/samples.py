"""Members of archives, with contents that no file is needed for."""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

from aserve.handlers.archive.layout import PIECE_SIZE, Layout, Member

BILLION = 1_000_000_000

HOSTILE = (
    *(b"<img onerror=alert(1)>", b'"', b"'", b"a\nb", b"a\rb", b"a\tb", b"\x1b[31m", b"\x7f"),
    *("\u202egpj.exe".encode(), "a\u2028b".encode(), "\ufeff".encode(), "\u00fc".encode()),
    *("u\u0308".encode(), "\U0001f4c1".encode(), b"\xff\xfe", b"\xc3", b"%2f", b"%00", b"..."),
    *(b"-rf", b"C:", b"CON", b"..\\..\\evil", b"\\", b" ", b"a ", b" a", b"a.", b"$(id)", b"`id`"),
    *(b"&amp;", b"*", b"?", b"a;b", b"x" * 255, "\u00e9".encode() * 127, b"tar.gz", b"@Pax"),
)
"""Names that files can have, and that something, somewhere, takes for something else."""


class MemoryContents:
    """Contents that are bytes."""

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._contents = contents

    def read(self, index: int, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, stop, PIECE_SIZE):
            yield self._contents[index][position : min(position + PIECE_SIZE, stop)]

    def has_checksum(self, index: int) -> bool:
        return True

    def checksum(self, index: int) -> int:
        return zlib.crc32(self._contents[index])


class Holes:
    """Contents of any size that are all zeros, of which there is one piece in memory.

    Their checksums are invented.
    """

    def __init__(self) -> None:
        self.bytes_read = 0

    def read(self, index: int, start: int, stop: int) -> Iterator[bytes]:
        for position in range(start, stop, PIECE_SIZE):
            size = min(PIECE_SIZE, stop - position)
            self.bytes_read += size
            yield _ZEROS[:size]

    def has_checksum(self, index: int) -> bool:
        return True

    def checksum(self, index: int) -> int:
        return 0x12345678


_ZEROS = bytes(PIECE_SIZE)


class Sample(NamedTuple):
    """Members, and the content of each."""

    members: list[Member]
    contents: list[bytes]

    def archive(self, make_layout: type[Layout]) -> bytes:
        layout = make_layout(self.members)
        return read(layout, MemoryContents(self.contents), 0, layout.length)


def read(layout: Layout, contents: MemoryContents | Holes, start: int, stop: int) -> bytes:
    return b"".join(layout.pieces(contents, start, stop))


def sample(*files: tuple[bytes, bytes]) -> Sample:
    """Return files by their paths and contents, in a directory."""
    members = [Member(b"d/", 0, 1_700_000_000 * BILLION, 0o755)]
    members += [
        Member(path, len(content), (1_700_000_001 + n) * BILLION, 0o640)
        for n, (path, content) in enumerate(files)
    ]
    return Sample(members, [b"", *(content for _, content in files)])


_names = st.one_of(
    st.sampled_from(HOSTILE),
    st.binary(min_size=1, max_size=40).map(lambda name: name.translate(None, b"/\0") or b"_"),
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1)
    .map(lambda name: name.encode()[:255])
    .filter(lambda name: name not in {b".", b".."}),
).filter(lambda name: name not in {b".", b".."})
_paths = st.lists(_names, min_size=1, max_size=4).map(b"/".join)
_modes = st.integers(0, 0o777)


@st.composite
def samples(draw: st.DrawFn, times: st.SearchStrategy[int]) -> Sample:
    """Return files and directories of any names, modes and modification times."""
    members, contents = [], []
    paths = draw(st.lists(_paths, max_size=6, unique_by=lambda path: path.replace(b"\\", b"")))
    for path in paths:
        is_directory = draw(st.booleans())
        content = b"" if is_directory else draw(st.binary(max_size=1_200))
        name = b"d/" + path + (b"/" if is_directory else b"")
        members.append(Member(name, len(content), draw(times), draw(_modes)))
        contents.append(content)
    return Sample(members, contents)
