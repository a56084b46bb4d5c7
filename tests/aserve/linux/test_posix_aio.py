"""POSIX AIO reads from real files, and their completion."""

import gc
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserve.filesystem.directory import OpenFile
from aserve.linux.posix_aio import AioReader, unavailable_reason

pytestmark = pytest.mark.skipif(bool(unavailable_reason()), reason=unavailable_reason())

TIMEOUT = 60.0  # seconds


@pytest.fixture
def reader() -> Iterator[AioReader]:
    reader = AioReader()
    yield reader
    reader.close()


def open_file(path: Path) -> OpenFile:
    descriptor = os.open(path, os.O_RDONLY)
    return OpenFile(descriptor, os.fstat(descriptor), wait=True, local=True)


def wait(reader: AioReader, results: list[bytes | OSError], count: int = 1) -> None:
    poller = select.poll()
    poller.register(reader.fileno(), select.POLLIN)
    while len(results) < count:
        assert poller.poll(TIMEOUT * 1_000), "no read was completed"
        reader.process_completions()


def test_reads_return_the_data_at_their_offsets(reader: AioReader, tmp_path: Path) -> None:
    blocks = [os.urandom(1 << 16) for _ in range(16)]
    (tmp_path / "file").write_bytes(b"".join(blocks))
    file, results = open_file(tmp_path / "file"), [list[bytes | OSError]() for _ in blocks]
    for number, result in enumerate(results):
        reader.start_read(file, number << 16, number + 1 << 16, result.append)
    for result in results:
        wait(reader, result)
    assert results == [[block] for block in blocks]


def test_reads_at_the_end_of_a_file_are_short_and_then_empty(
    reader: AioReader, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    file, results = open_file(tmp_path / "file"), list[bytes | OSError]()
    reader.start_read(file, 2, 10, results.append)
    wait(reader, results)
    reader.start_read(file, 4, 10, results.append)
    wait(reader, results, 2)
    assert results == [b"34", b""]


def test_an_error_has_its_errno(reader: AioReader, tmp_path: Path) -> None:
    directory, results = open_file(tmp_path), list[bytes | OSError]()
    reader.start_read(directory, 0, 10, results.append)
    wait(reader, results)
    assert isinstance(results[0], IsADirectoryError)


def test_a_file_stays_open_until_it_has_been_read(reader: AioReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    results = list[bytes | OSError]()
    reader.start_read(open_file(tmp_path / "file"), 0, 6, results.append)
    gc.collect()  # nothing else references the file
    wait(reader, results)
    assert results == [b"abcdef"]


def test_close_waits_for_pending_reads(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    reader, file, results = AioReader(), open_file(tmp_path / "file"), list[bytes | OSError]()
    reader.start_read(file, 0, 6, results.append)
    reader.close()
    assert results == [b"abcdef"]
