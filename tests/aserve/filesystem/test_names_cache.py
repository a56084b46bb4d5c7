"""Names are read once, and again after every change: counted, with a clock of the test."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aserve.filesystem import names_cache
from aserve.filesystem.directory import Directory
from aserve.filesystem.entries import EntryReader
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.names_cache import Names, NamesCache
from aserve.http.request_target import TargetPath
from aserve.linux.directory_entries import TYPE_FILE
from tests.aserve.handlers.listing_site import ListedSite

ROOT = TargetPath((), is_directory=True)
MIN_AGE = 1_100_000_000


class Local(Mounts):
    def tracking_of(self, device: int) -> ChangeTracking:
        return ChangeTracking.STATE


class Remote(Mounts):
    def tracking_of(self, device: int) -> ChangeTracking:
        return ChangeTracking.NONE


def later() -> int:
    return 1 << 62


@contextmanager
def opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Reads:
    """Reads names of a directory, and counts how often."""

    def __init__(self, cache: NamesCache, directory: Path) -> None:
        self.count = 0
        self._cache = cache
        self._directory = directory

    def names(self) -> list[bytes]:
        with opened(self._directory) as descriptor:
            names = self._cache.get(os.fsencode(self._directory), descriptor, self._read)
        return list(names.in_order({}).files)

    def _read(self) -> dict[bytes, int]:
        self.count += 1
        return {os.fsencode(name): TYPE_FILE for name in os.listdir(self._directory)}


def change_until_seen(directory: Path, change: Callable[[], object]) -> None:
    """Change a directory until its times tell it: two changes within a tick have the same."""
    before = directory.stat().st_ctime_ns
    while directory.stat().st_ctime_ns == before:
        change()


def test_names_are_read_once_until_the_directory_changes(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    reads = Reads(NamesCache(Local(), later), tmp_path)
    assert [reads.names() for _ in range(3)] == [[b"a"]] * 3
    assert reads.count == 1
    change_until_seen(tmp_path, lambda: (tmp_path / "b").touch() or (tmp_path / "b").unlink())
    (tmp_path / "b").touch()
    times = tmp_path.stat()
    os.utime(tmp_path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reads.names() == [b"a", b"b"]
    assert reads.count == 2


def test_a_directory_that_changed_just_now_proves_nothing(tmp_path: Path) -> None:
    """Within a tick of the clock it may change again, and have the same times."""
    changed = max(tmp_path.stat().st_ctime_ns, tmp_path.stat().st_mtime_ns)
    for now, count in ((changed, 2), (changed + MIN_AGE, 2), (changed + MIN_AGE + 1, 1)):
        reads = Reads(NamesCache(Local(), lambda now=now: now), tmp_path)
        reads.names()
        reads.names()
        assert reads.count == count


def test_nothing_is_kept_of_what_changes_elsewhere(tmp_path: Path) -> None:
    reads = Reads(NamesCache(Remote(), later), tmp_path)
    reads.names()
    reads.names()
    assert reads.count == 2


def test_a_directory_that_was_replaced_is_another_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    reads = Reads(NamesCache(Local(), later), tmp_path / "one")
    assert reads.names() == [b"one"]
    (tmp_path / "one").rename(tmp_path / "old")
    (tmp_path / "two").rename(tmp_path / "one")
    assert reads.names() == [b"two"]


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_cache, "_MAX_SIZE", 1_000)
    monkeypatch.setattr(names_cache, "_MAX_DIRECTORIES", 3)
    cache = NamesCache(Local(), later)
    directories = [tmp_path / str(number) for number in range(5)]
    for number, directory in enumerate(directories):
        directory.mkdir()
        for name in range(3 if number else 100):
            (directory / str(name)).touch()
    reads = [Reads(cache, directory) for directory in directories]

    def counts_after(*numbers: int) -> list[int]:
        for number in numbers:
            reads[number].names()
        return [one.count for one in reads]

    assert counts_after(0, 0) == [2, 0, 0, 0, 0]  # too large
    assert counts_after(1, 1, 2, 2, 1, 2) == [2, 1, 1, 0, 0]  # 489 each
    assert counts_after(3, 2, 1) == [2, 2, 1, 1, 0]  # 1 was used least recently
    monkeypatch.setattr(names_cache, "_MAX_SIZE", 1 << 20)
    kept = counts_after(1, 2, 3)
    assert counts_after(1, 2, 3) == kept
    counts_after(4)  # which is one directory too many
    kept = counts_after(2, 3, 4)
    assert counts_after(2, 3, 4) == kept
    assert counts_after(1)[1] == kept[1] + 1


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often names are read, and how many entries are looked at."""
    counts = {"names": 0, "entry": 0}
    for name in counts:
        method = getattr(EntryReader, name)

        def counting(*arguments: object, name: str = name, method: object = method) -> object:
            counts[name] += 1
            return method(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(EntryReader, name, counting)
    return counts


def test_a_page_costs_what_is_on_it(tmp_path: Path, calls: dict[str, int]) -> None:
    """The second one comes from memory, and each has the sizes as they are now."""
    for number in range(300):
        (tmp_path / f"f{number}").touch()
    files = Directory(tmp_path)
    files._names = NamesCache(Local(), later)
    site = ListedSite(files, page_size=20)

    def cost(target: str) -> tuple[int, int]:
        calls.update(names=0, entry=0)
        assert len(site.list(target).names) == 20
        return calls["names"], calls["entry"]

    assert cost("/") == (1, 20)
    assert cost("/?offset=20") == (0, 20)
    assert cost("/?offset=200&order=desc") == (0, 20)
    assert cost("/?q=f1") == (0, 20)
    assert cost("/?sort=size") == (0, 320)
    (tmp_path / "f5").write_bytes(b"12345")
    assert site.list("/?q=f5&limit=1").json["entries"][0]["size"] == 5
    assert site.list("/?sort=size&order=desc&limit=1").names == ["f5"]


def test_links_are_followed_each_time(tmp_path: Path, calls: dict[str, int]) -> None:
    """What they lead to may change without a change of the directory."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").touch()
    (tmp_path / "root" / "sub").mkdir()
    (tmp_path / "root" / "link").symlink_to("sub/x")
    files = Directory(tmp_path / "root")
    files._names = NamesCache(Local(), later)
    site = ListedSite(files)
    assert site.list().names == ["sub", "a"]
    (tmp_path / "root" / "sub" / "x").touch()
    assert site.list().names == ["sub", "a", "link"]
    (tmp_path / "root" / "sub" / "x").unlink()
    (tmp_path / "root" / "sub" / "x").mkdir()
    assert site.list().names == ["link", "sub", "a"]
    assert calls["names"] == 1


def test_one_thread_sorts_the_names_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    names, counted = Names({b"b": TYPE_FILE, b"a": TYPE_FILE}), []
    begun, go_on = threading.Event(), threading.Event()

    def sort(unsorted: list[bytes]) -> list[bytes]:
        counted.append(len(unsorted))
        begun.set()
        assert go_on.wait(30)
        return sorted(unsorted)

    monkeypatch.setattr(names_cache, "sort_naturally", sort)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(names.in_order, {})
        assert begun.wait(30)
        others = [pool.submit(names.in_order, {}) for _ in range(3)]
        go_on.set()
        assert [each.result(30).files for each in (first, *others)] == [[b"a", b"b"]] * 4
    assert counted == [0, 2]
