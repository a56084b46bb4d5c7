"""Hashes are remembered as long as the file is unchanged."""

import hashlib
import os
from pathlib import Path

import pytest

from aserve.filesystem.writing import digest_cache
from aserve.filesystem.writing.digest_cache import ALGORITHMS, DigestCache
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import anything, target

DATA = bytes(range(256)) * 20_000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hashes_of_what_is_written(tmp_path: Path, algorithm: str) -> None:
    expected = hashlib.new(algorithm.replace("-", ""), DATA).digest()
    file = Storage(tmp_path).begin(target("a"), len(DATA), [algorithm])
    for start in range(0, len(DATA), 65_536):
        file.write(DATA[start : start + 65_536])
    assert file.digests() == {algorithm: expected}
    written = file.commit(anything)
    assert written.digests == {algorithm: expected}
    cache = DigestCache()
    cache.add(written.status, written.digests)
    assert cache.get((tmp_path / "a").stat(), algorithm) == expected


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(DATA)
    return path


def compute(cache: DigestCache, path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return cache.compute(descriptor, "sha-256")
    finally:
        os.close(descriptor)


def settled(path: Path) -> int:
    """Return a time at which the last change of a file is long ago."""
    return path.stat().st_ctime_ns + 10**9


def test_a_file_that_was_never_uploaded_is_read_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DigestCache(clock=lambda: settled(path))
    assert cache.get(path.stat(), "sha-256") is None
    expected = hashlib.sha256(DATA).digest()
    assert compute(cache, path) == expected
    assert cache.get(path.stat(), "sha-256") == expected
    monkeypatch.setattr(digest_cache, "_read", lambda *_: pytest.fail("it is read again"))
    assert compute(cache, path) == expected


def test_a_file_that_has_just_changed_is_not_remembered(path: Path) -> None:
    """Another change within the same tick of the kernel's clock would not be noticed."""
    cache = DigestCache(clock=lambda: path.stat().st_ctime_ns + 1)
    assert compute(cache, path) == hashlib.sha256(DATA).digest()
    assert cache.get(path.stat(), "sha-256") is None


def test_what_counts_is_the_time_before_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file takes longer than a tick."""
    now = [path.stat().st_ctime_ns + 1]
    read = digest_cache._read

    def read_for_long(descriptor: int, algorithm: str) -> bytes:
        now[0] = settled(path)
        return read(descriptor, algorithm)

    monkeypatch.setattr(digest_cache, "_read", read_for_long)
    cache = DigestCache(clock=lambda: now[0])
    assert compute(cache, path) == hashlib.sha256(DATA).digest()
    assert cache.get(path.stat(), "sha-256") is None


def test_a_state_that_has_gone_has_no_hash(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"new")
    with path.open("rb") as file:
        assert DigestCache().compute(file.fileno(), "sha-256", before) is None


def test_a_changed_file_has_another_hash(path: Path) -> None:
    cache = DigestCache(clock=lambda: settled(path))
    compute(cache, path)
    path.write_bytes(b"new")
    assert cache.get(path.stat(), "sha-256") is None
    assert compute(cache, path) == hashlib.sha256(b"new").digest()


def test_a_file_that_changes_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread = os.pread

    def change(descriptor: int, size: int, start: int) -> bytes:
        with path.open("ab") as file:
            file.write(b"more")
        return pread(descriptor, min(size, 1 << 22), start) if start < len(DATA) else b""

    monkeypatch.setattr(os, "pread", change)
    cache = DigestCache(clock=lambda: settled(path))
    assert compute(cache, path) is None


def test_only_some_files_are_read_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by two threads, which are still reading."""
    cache = DigestCache()
    results: list[bytes | None] = []
    read = digest_cache._read

    def nested(descriptor: int, algorithm: str) -> bytes:
        results.append(cache.compute(descriptor, algorithm))
        return read(descriptor, algorithm)

    monkeypatch.setattr(digest_cache, "_read", nested)
    compute(cache, path)
    expected = hashlib.sha256(DATA).digest()
    assert results == [None, expected]


def test_the_oldest_is_evicted(tmp_path: Path) -> None:
    statuses = []
    for name in "abc":
        (tmp_path / name).write_bytes(b"")
        statuses.append((tmp_path / name).stat())
    cache = DigestCache(max_entries=2)
    for status in statuses[:2]:
        cache.add(status, {"sha-256": b"x"})
    cache.get(statuses[0], "sha-256")
    cache.add(statuses[2], {"sha-256": b"x"})
    assert [bool(cache.get(status, "sha-256")) for status in statuses] == [True, False, True]
