"""What is read of files for an archive: as little as possible, and nothing that has changed."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from aserve.handlers.archive import checksums, contents
from aserve.handlers.archive.checksums import Checksum, ChecksumCache
from aserve.handlers.archive.contents import FileContents
from aserve.handlers.archive.layout import Member
from aserve.handlers.archive.manifest import Manifest
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import (
    DirectoryWithoutSlash,
    Document,
    Entry,
    Representation,
    Resource,
    Validator,
)

STEP, PIECE = 64, 16
DATA = bytes(range(256)) * 2
SIZES = (0, 1, 15, 16, 17, 63, 64, 65, 128, 300)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (checksums, contents):
        monkeypatch.setattr(module, "STEP", STEP)
    monkeypatch.setattr(contents, "PIECE_SIZE", PIECE)


class FakeSource:
    """A file that counts what is read of it."""

    is_local = True

    def __init__(self, files: "FakeFiles", data: bytes) -> None:
        self._files, self._data = files, data
        self.is_open = self.has_not_changed = True

    def read(self, start: int, stop: int) -> bytes:
        assert self.is_open
        self._files.reads.append((start, stop))
        if self._files.on_read:
            self._files.on_read(self)
        return self._data[start:stop]

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        return True

    def is_unchanged(self) -> bool:
        return self.has_not_changed

    def fileno(self) -> int:
        raise OSError

    def close(self) -> None:
        self.is_open = False

    def truncate(self, size: int) -> None:
        self._data = self._data[:size]


class FakeFiles:
    """A file system of one directory."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self.files = files
        self.tags = {name: f'"{name.decode()}"' for name in files}
        self.reads: list[tuple[int, int]] = []
        self.opened: list[FakeSource] = []
        self.on_read: Callable[[FakeSource], None] | None = None
        self.found: dict[bytes, Resource | HttpError] = {}

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        assert wait
        assert path.segments[:-1] == (b"photos",)
        name = path.segments[-1]
        if isinstance(found := self.found.get(name), HttpError):
            raise found
        if found is not None:
            return found
        assert not any(source.is_open for source in self.opened)  # one at a time
        representations = tuple(
            Representation("", len(data), Validator(tag, 0), FakeSource(self, data), coding)
            for coding, tag, data in (
                ("identity", self.tags[name], self.files[name]),
                ("br", '"sibling"', b"compressed"),
            )
        )
        self.opened += [one.source for one in representations]
        return Document(representations)

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        raise AssertionError

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        raise AssertionError

    @property
    def bytes_read(self) -> int:
        reads, self.reads = self.reads, []
        return sum(stop - start for start, stop in reads)


class Reading(NamedTuple):
    """Contents of one archive of all files, in the order of their names."""

    files: FakeFiles
    cache: ChecksumCache

    def contents(self, *, has_checksums: bool = True) -> FileContents:
        members = [
            Member(b"photos/" + name, len(data), state=f'"{name.decode()}"')
            for name, data in self.files.files.items()
        ]
        directory = TargetPath((b"photos",), is_directory=True)
        manifest = Manifest(members)
        return FileContents(
            self.files, directory, manifest, self.cache, has_checksums=has_checksums
        )

    def read(self, index: int, start: int, stop: int) -> bytes:
        return b"".join(self.contents().read(index, start, stop))


@pytest.fixture
def reading() -> Reading:
    return Reading(FakeFiles({b"%d" % size: DATA[:size] for size in SIZES}), ChecksumCache())


def checksum(contents: FileContents, index: int, size: int) -> int:
    """Return a checksum, and read the whole file for it if it is not known."""
    if not contents.has_checksum(index):
        assert not any(contents.read(index, size, size))
    assert contents.has_checksum(index)
    return contents.checksum(index)


def test_contents_and_checksums_are_those_of_the_files(reading: Reading) -> None:
    for index, size in enumerate(SIZES[1:], 1):
        contents, data = reading.contents(), DATA[:size]
        assert b"".join(contents.read(index, 0, size)) == data
        assert checksum(contents, index, len(data)) == zlib.crc32(data)
    assert not any(source.is_open for source in reading.files.opened)


@pytest.mark.parametrize("start", [0, 1, 16, 63, 64, 65, 100, 128, 299, 300])
@pytest.mark.parametrize("stop", [300, 299, 150, 128])
def test_any_part_can_be_read_with_any_that_were_read_before(
    reading: Reading, start: int, stop: int
) -> None:
    index, data = len(SIZES) - 1, reading.files.files[b"300"]
    for read_before in (0, 10, 64, 200, 300):
        reading = Reading(reading.files, ChecksumCache())
        reading.read(index, 0, read_before)
        assert reading.read(index, start, stop) == data[start:stop]
        assert checksum(reading.contents(), index, 300) == zlib.crc32(data)


def test_a_file_is_read_once_for_its_content_and_its_checksum(reading: Reading) -> None:
    contents = reading.contents()
    for index, size in enumerate(SIZES[1:], 1):
        list(contents.read(index, 0, size))
    for index, size in enumerate(SIZES[1:], 1):
        assert checksum(contents, index, size) == zlib.crc32(DATA[:size])
    assert reading.files.bytes_read == sum(SIZES)
    again = reading.contents()
    assert all(again.has_checksum(index) for index in range(1, len(SIZES)))


def test_a_download_that_goes_on_reads_at_most_one_step_again(reading: Reading) -> None:
    index = len(SIZES) - 1
    for position in (70, 130, 200, 299):
        interrupted = Reading(reading.files, ChecksumCache())
        pieces = interrupted.contents().read(index, 0, 300)
        sent = 0
        while sent < position:
            sent += len(next(pieces))
        pieces.close()  # type: ignore[attr-defined]
        assert reading.files.bytes_read == sent
        contents = interrupted.contents()
        assert (
            b"".join(contents.read(index, position, 300))
            == bytes(range(256))[position:] + bytes(range(44))[max(0, position - 256) :]
        )
        assert checksum(contents, index, 300) == zlib.crc32(DATA[:300])
        assert reading.files.bytes_read < 300 - position + STEP


def test_for_each_piece_that_is_only_read_something_is_yielded(reading: Reading) -> None:
    """So that the archive can be given up when its client has gone."""
    pieces = list(reading.contents().read(len(SIZES) - 1, 200, 300))
    assert pieces[:13] == [b""] * 13  # in steps of 64 bytes, by 16
    assert all(pieces[13:])
    assert b"".join(pieces) == DATA[200:300]


def test_a_range_within_a_file_reads_nothing_before_it(reading: Reading) -> None:
    reading.read(len(SIZES) - 1, 200, 290)
    assert reading.files.bytes_read == 90


def test_where_nobody_needs_checksums_nothing_is_read_for_them(reading: Reading) -> None:
    index = len(SIZES) - 1
    contents = reading.contents(has_checksums=False)
    list(contents.read(index, 0, 300))
    list(contents.read(index, 200, 300))
    assert reading.files.bytes_read == 400
    assert not contents.has_checksum(index)


def test_another_state_of_a_file_has_another_checksum(reading: Reading) -> None:
    reading.read(1, 0, 1)
    contents = FileContents(
        reading.files,
        TargetPath((b"photos",), is_directory=True),
        Manifest([Member(b"photos/1", 1, state='"another"')]),
        reading.cache,
        has_checksums=True,
    )
    assert not contents.has_checksum(0)


def test_a_cache_that_is_full_forgets_what_was_used_longest_ago() -> None:
    cache = ChecksumCache(max_size=3)
    for state in "abc":
        cache.add(state, Checksum(1, ord(state)))
    assert cache.last_before("a", 1, 1).crc == ord("a")
    cache.add("d", Checksum(1, ord("d")))
    known = [state for state in "abcd" if cache.last_before(state, 1, 1).position]
    assert known == ["a", "c", "d"]


def test_checksums_of_an_archive_outlast_a_cache_that_is_too_small(reading: Reading) -> None:
    small = Reading(reading.files, ChecksumCache(max_size=1))
    contents = small.contents()
    for index, size in enumerate(SIZES):
        list(contents.read(index, 0, size))
    for index, size in enumerate(SIZES[1:], 1):
        assert checksum(contents, index, size) == zlib.crc32(DATA[:size])
    assert reading.files.bytes_read == sum(SIZES)


def test_a_cache_takes_no_checksum_without_those_before_it() -> None:
    cache = ChecksumCache()
    cache.add("a", Checksum(2 * STEP, 2))
    assert cache.last_before("a", 4 * STEP, 4 * STEP) == (0, 0)
    cache.add("a", Checksum(STEP, 1))
    cache.add("a", Checksum(STEP, 99))  # another thread was faster
    cache.add("a", Checksum(2 * STEP, 2))
    assert cache.last_before("a", 2 * STEP + 1, 4 * STEP) == (2 * STEP, 2)
    assert cache.last_before("a", 2 * STEP - 1, 4 * STEP) == (STEP, 1)
    assert cache.last_before("a", STEP - 1, 4 * STEP) == (0, 0)


def _shrink(source: FakeSource) -> None:
    source.truncate(10)


def _change(source: FakeSource) -> None:
    source.has_not_changed = False


def _fail(_: FakeSource) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("on_read", "reason"),
    [(_shrink, "it has changed"), (_change, "it has changed"), (_fail, "Input/output error")],
)
@pytest.mark.parametrize("has_checksums", [False, True])
def test_a_file_that_changes_while_it_is_read_ends_the_archive(
    reading: Reading, on_read: Callable[[FakeSource], None], reason: str, has_checksums: bool
) -> None:
    contents = reading.contents(has_checksums=has_checksums)
    pieces = contents.read(len(SIZES) - 1, 0, 300)
    next(pieces)
    reading.files.on_read = on_read
    with pytest.raises(OSError, match=f"^'photos/300': {reason}$"):
        next(pieces)
    assert not any(source.is_open for source in reading.files.opened)
    assert not contents.has_checksum(len(SIZES) - 1)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (HttpError(404, "Nothing is here."), "Nothing is here."),
        (HttpError(403, "This file may not be read."), "This file may not be read."),
        (DirectoryWithoutSlash(), "it has been replaced by a directory"),
    ],
)
def test_a_file_that_is_no_longer_there_ends_the_archive(
    reading: Reading, found: Resource | HttpError, reason: str
) -> None:
    reading.files.found[b"300"] = found
    with pytest.raises(OSError, match=f"^'photos/300': {reason}$"):
        reading.read(len(SIZES) - 1, 0, 300)


@pytest.mark.parametrize("is_larger", [False, True])
def test_a_file_that_changed_before_it_is_read_ends_the_archive(
    reading: Reading, is_larger: bool
) -> None:
    contents = reading.contents()
    if is_larger:  # which its entity tag would tell as well
        reading.files.files[b"300"] *= 2
    else:
        reading.files.tags[b"300"] = '"another"'
    with pytest.raises(OSError, match=r"^'photos/300': it has changed$"):
        list(contents.read(len(SIZES) - 1, 0, 300))
    assert not any(source.is_open for source in reading.files.opened)


def test_what_the_log_says_of_a_hostile_name_is_one_line() -> None:
    name = b"a\nb\xff\x1b"
    files = FakeFiles({})
    files.found[name] = HttpError(404, "Nothing is here.")
    manifest = Manifest([Member(b"photos/" + name, 1, state='""')])
    directory = TargetPath((b"photos",), is_directory=True)
    contents = FileContents(files, directory, manifest, ChecksumCache(), has_checksums=True)
    with pytest.raises(OSError) as caught:
        checksum(contents, 0, 1)
    assert str(caught.value) == r"'photos/a\nb\udcff\x1b': Nothing is here."
