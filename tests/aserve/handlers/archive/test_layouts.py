"""ZIP and tar archives as Python's own libraries read them, and each range of them."""

import io
import stat
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aserve.handlers.archive import zip_writer
from aserve.handlers.archive.layout import PIECE_SIZE, Layout, Member
from aserve.handlers.archive.tar_writer import TarLayout
from aserve.handlers.archive.zip_writer import ZipLayout
from tests.aserve.handlers.archive.samples import (
    BILLION,
    HOSTILE,
    Holes,
    MemoryContents,
    Sample,
    read,
    sample,
    samples,
)

LAYOUTS = [ZipLayout, TarLayout]
GIB = 1 << 30
UINT32 = (1 << 32) - 1

patient = settings(suppress_health_check=[HealthCheck.too_slow])
"""Other tests may have the processor meanwhile."""

# What the date of MS-DOS can express: in steps of two seconds, from 1980 to 2107.
_dos_times = st.integers(157_766_400, 2_177_409_599).map(lambda pair: pair * 2 * BILLION)
_times = st.integers(-(1 << 62), 1 << 62)


def text_of(name: bytes) -> str:
    """Return a name as a program finds it in a ZIP archive: CP437 where it is not UTF-8."""
    name = name.replace(b"\\", "\uff3c".encode())
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


@patient
@given(samples(_dos_times))
def test_python_reads_from_a_zip_what_is_written(written: Sample) -> None:
    with zipfile.ZipFile(io.BytesIO(written.archive(ZipLayout))) as archive:
        found = [
            (
                entry.orig_filename,
                archive.read(entry),
                stat.S_IMODE(entry.external_attr >> 16),
                entry.is_dir(),
                entry.date_time,
            )
            for entry in archive.infolist()
        ]
    assert found == [
        (
            text_of(member.path),
            content,
            member.mode,
            member.path.endswith(b"/"),
            time.gmtime(member.modified // BILLION)[:6],
        )
        for member, content in zip(*written, strict=True)
    ]


@patient
@given(samples(_times))
def test_python_reads_from_a_tar_what_is_written(written: Sample) -> None:
    with tarfile.open(fileobj=io.BytesIO(written.archive(TarLayout))) as archive:
        found = [
            (
                entry.name.encode(errors="surrogateescape"),
                (file.read() if (file := archive.extractfile(entry)) else b""),
                entry.mode,
                entry.isdir(),
                entry.mtime,
                (entry.uid, entry.gid, entry.uname, entry.gname),
            )
            for entry in archive
        ]
    assert found == [
        (
            member.path.rstrip(b"/"),
            content,
            member.mode,
            member.path.endswith(b"/"),
            float(member.modified / BILLION),
            (0, 0, "", ""),
        )
        for member, content in zip(*written, strict=True)
    ]


@pytest.mark.parametrize("make_layout", LAYOUTS)
@patient
@given(written=samples(_times), data=st.data())
def test_a_range_is_a_slice_of_the_whole(
    make_layout: type[Layout], written: Sample, data: st.DataObject
) -> None:
    whole = written.archive(make_layout)
    layout = make_layout(written.members)
    assert layout.length == len(whole)
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    assert read(layout, MemoryContents(written.contents), start, stop) == whole[start:stop]


@pytest.mark.parametrize("make_layout", LAYOUTS)
def test_every_range_of_a_small_archive_is_a_slice_of_it(make_layout: type[Layout]) -> None:
    small = sample((b"d/a", b"12"), (b"d/empty", b""), (b"d/\xc3\xbc", b"x"))
    whole, layout = small.archive(make_layout), make_layout(small.members)
    contents = MemoryContents(small.contents)
    # Every byte is the first and the last of some range; all pairs would be two million.
    for start in range(len(whole)):
        for size in (1, 2, 21, 512, len(whole)):
            stop = min(start + size, len(whole))
            assert read(layout, contents, start, stop) == whole[start:stop]


def test_dates_of_zip_are_in_utc_and_those_it_cannot_express_the_closest() -> None:
    times = (
        -BILLION,
        0,
        1_700_000_001 * BILLION,
        1 << 31,
        (1 << 31) * BILLION,
        5_000_000_000_000_000_000,
    )
    members = [Member(b"%d" % n, 0, modified) for n, modified in enumerate(times)]
    with zipfile.ZipFile(io.BytesIO(Sample(members, [b""] * 6).archive(ZipLayout))) as archive:
        dates = [entry.date_time[:3] for entry in archive.infolist()]
        extras = [entry.extra for entry in archive.infolist()]
    first, last = (1980, 1, 1), (2107, 12, 31)
    assert dates == [first, first, (2023, 11, 14), first, (2038, 1, 19), last]
    # The timestamp of Info-ZIP, whose sign programs do not agree on: only up to 2038.
    assert extras[2] == b"UT\5\0\1" + (1_700_000_001).to_bytes(4, "little")
    assert [len(extra) for extra in extras] == [0, 9, 9, 9, 0, 0]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_archive(name: bytes) -> None:
    hostile = sample((b"d/" + name, b"content"))
    with zipfile.ZipFile(io.BytesIO(hostile.archive(ZipLayout))) as archive:
        _, entry = archive.infolist()
        assert "\\" not in entry.orig_filename  # which Windows takes for a separator
        assert entry.orig_filename.count("/") == 1
        assert archive.read(entry) == b"content"
    with tarfile.open(fileobj=io.BytesIO(hostile.archive(TarLayout))) as tar:
        _, member = tar.getmembers()
        assert member.name.encode(errors="surrogateescape") == b"d/" + name


@pytest.mark.parametrize("make_layout", LAYOUTS)
def test_a_long_path_is_kept(make_layout: type[Layout]) -> None:
    path = b"/".join([b"d", *(b"n" * 255,) * 15])
    archive = io.BytesIO(sample((path, b"content")).archive(make_layout))
    if make_layout is ZipLayout:
        with zipfile.ZipFile(archive) as opened:
            assert opened.read(path.decode()) == b"content"
    else:
        with tarfile.open(fileobj=archive) as tar:
            file = tar.extractfile(path.decode())
            assert file
            assert file.read() == b"content"


class SparseFile(io.RawIOBase):
    """An archive of holes that is made where it is read, and nowhere else."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.contents, self.position = layout, Holes(), 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.layout.length)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        stop = self.layout.length if size < 0 else min(self.position + size, self.layout.length)
        data = read(self.layout, self.contents, self.position, stop)
        self.position += len(data)
        return data


LARGE = {
    "one byte below ZIP64": [UINT32 - 1],
    "the first with ZIP64": [UINT32],
    "one above": [UINT32 + 1],
    "an offset at the limit": [UINT32 - 31, 1],
    "5 GiB, and a small one behind": [5 * GIB, 10],
    "many": [3 * GIB, 5, 5 * GIB, 0, 200 * GIB, 7],
}


@pytest.mark.parametrize("sizes", LARGE.values(), ids=LARGE)
def test_large_files_are_found_in_a_zip(sizes: list[int]) -> None:
    members = [Member(b"%d" % n, size, BILLION) for n, size in enumerate(sizes)]
    sparse = SparseFile(ZipLayout(members))
    with zipfile.ZipFile(sparse) as archive:
        entries = archive.infolist()
        assert [entry.file_size for entry in entries] == sizes
        assert [entry.compress_size for entry in entries] == sizes
        for entry in entries:  # the header is where the directory says
            with archive.open(entry) as file:
                assert file.read(0) == b""
    assert sparse.contents.bytes_read < len(sizes) * (1 << 20)


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 100 * GIB])
def test_large_files_are_found_in_a_tar(size: int) -> None:
    members = [Member(b"large", size, BILLION), Member(b"behind", 3, BILLION)]
    sparse = SparseFile(TarLayout(members))
    with tarfile.open(fileobj=sparse) as archive:
        assert [(entry.name, entry.size) for entry in archive] == [("large", size), ("behind", 3)]
    assert sparse.contents.bytes_read < 1 << 20


def _has_zip64_end(count: int) -> bool:
    """Tell whether an archive of so many entries has one, of which Python finds all."""
    members = [Member(b"%d" % n) for n in range(count)]
    archive = Sample(members, [b""] * count).archive(ZipLayout)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.namelist() == [str(n) for n in range(count)]
    return b"PK\6\6" in archive


@pytest.mark.slow
@pytest.mark.parametrize("count", [65_534, 65_535, 65_536])
def test_a_zip_may_have_more_entries_than_16_bits_can_count(count: int) -> None:
    assert _has_zip64_end(count) == (count >= 65_535)  # 4.4.1.4: 0xFFFF itself is a sign


def test_what_16_bits_cannot_count_is_in_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_writer, "_MAX_16", 5)
    assert [_has_zip64_end(count) for count in (4, 5, 6)] == [False, True, True]


@pytest.mark.parametrize("make_layout", LAYOUTS)
def test_an_archive_without_members_is_empty(make_layout: type[Layout]) -> None:
    archive = io.BytesIO(Sample([], []).archive(make_layout))
    if make_layout is ZipLayout:
        with zipfile.ZipFile(archive) as opened:
            assert opened.infolist() == []
    else:
        with tarfile.open(fileobj=archive) as tar:
            assert tar.getmembers() == []


@pytest.mark.parametrize("make_layout", LAYOUTS)
def test_small_pieces_are_joined_and_none_is_larger_than_two(make_layout: type[Layout]) -> None:
    small = [Member(b"%d" % n, 1_000) for n in range(2_000)]
    members = [*small, Member(b"large", 8 * PIECE_SIZE + 1)]
    layout = make_layout(members)
    sizes = [len(piece) for piece in layout.pieces(Holes(), 0, layout.length)]
    assert sum(sizes) == layout.length
    assert max(sizes) < 2 * PIECE_SIZE
    assert min(sizes[:-1]) >= PIECE_SIZE


@pytest.mark.parametrize("make_layout", LAYOUTS)
def test_a_hundred_gigabytes_take_no_memory(make_layout: type[Layout]) -> None:
    layout = make_layout([Member(b"%d" % n, 10 * GIB) for n in range(10)])
    starts = [*range(0, layout.length, 9 * GIB), layout.length - PIECE_SIZE]
    tracemalloc.start()
    try:
        for start in starts:
            stop = min(start + 16 * PIECE_SIZE, layout.length)
            assert sum(map(len, layout.pieces(Holes(), start, stop))) == stop - start
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * PIECE_SIZE


def test_what_is_ready_is_sent_before_much_is_read_for_checksums() -> None:
    """So that a client that has gone is noticed: no piece waits for more than 16 MiB and a file."""

    class Uncounted(Holes):
        def has_checksum(self, index: int) -> bool:
            return False

        def read(self, index: int, start: int, stop: int) -> Iterator[bytes]:
            assert start == stop == 6 << 20
            yield from [b""] * (stop // PIECE_SIZE)

    layout = ZipLayout([Member(b"%d" % n, 6 << 20) for n in range(30)])
    central = 30 * (46 + 9 + 1) + 20 + 22
    pieces = layout.pieces(Uncounted(), layout.length - central, layout.length)
    assert len(list(pieces)) == 30 * (6 << 20) // (16 << 20) + 1
