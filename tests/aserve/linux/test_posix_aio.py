"""POSIX AIO from real files, and what happens around its completion."""

import gc
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserve.filesystem.directory import OpenFile
from aserve.linux.posix_aio import AioReader, unavailable_reason

pytestmark = pytest.mark.skipif(bool(unavailable_reason()), reason=unavailable_reason())

PATIENCE = 10.0


@pytest.fixture
def reads() -> Iterator[AioReader]:
    reads = AioReader()
    yield reads
    reads.close()


def opened(path: Path) -> OpenFile:
    descriptor = os.open(path, os.O_RDONLY)
    return OpenFile(descriptor, os.fstat(descriptor), wait=True, local=True)


def wait(reads: AioReader, results: list[bytes | OSError], count: int = 1) -> None:
    bell = select.poll()
    bell.register(reads.fileno(), select.POLLIN)
    while len(results) < count:
        assert bell.poll(PATIENCE * 1_000), "nothing was completed"
        reads.process_completions()


def test_reads_come_with_what_lies_there(reads: AioReader, tmp_path: Path) -> None:
    blocks = [os.urandom(1 << 16) for _ in range(16)]
    (tmp_path / "file").write_bytes(b"".join(blocks))
    file, results = opened(tmp_path / "file"), [list[bytes | OSError]() for _ in blocks]
    for number, result in enumerate(results):
        reads.start_read(file, number << 16, number + 1 << 16, result.append)
    for result in results:
        wait(reads, result)
    assert results == [[block] for block in blocks]


def test_end_of_file_reads_less_and_then_nothing(reads: AioReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    file, results = opened(tmp_path / "file"), list[bytes | OSError]()
    reads.start_read(file, 2, 10, results.append)
    wait(reads, results)
    reads.start_read(file, 4, 10, results.append)
    wait(reads, results, 2)
    assert results == [b"34", b""]


def test_fault_comes_with_its_number(reads: AioReader, tmp_path: Path) -> None:
    folder, results = opened(tmp_path), list[bytes | OSError]()
    reads.start_read(folder, 0, 10, results.append)
    wait(reads, results)
    assert isinstance(results[0], IsADirectoryError)


def test_file_stays_open_until_it_has_been_read(reads: AioReader, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"octets")
    results = list[bytes | OSError]()
    reads.start_read(opened(tmp_path / "file"), 0, 6, results.append)
    gc.collect()  # nobody else holds the file
    wait(reads, results)
    assert results == [b"octets"]


def test_closing_waits_for_what_is_under_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"octets")
    reads, file, results = AioReader(), opened(tmp_path / "file"), list[bytes | OSError]()
    reads.start_read(file, 0, 6, results.append)
    reads.close()
    assert results == [b"octets"]
