"""A program that writes all the time beside, above or inside the directory blocks no client."""

import os
import threading
from collections import Counter

import pytest

from aserve.cache import response_cache
from aserve.cache.cached_response import CachedResponse
from aserve.filesystem import monitor
from aserve.http.messages import Request
from aserve.linux import inotify
from aserve.linux.inotify import MAX_READS, Inotify, QueueOverflow
from tests.aserve.cache.test_response_cache import NOW, Server, write
from tests.marks import slow


@pytest.fixture
def server(tmp_path):
    (tmp_path / "above" / "site" / "sub").mkdir(parents=True)
    write(tmp_path / "above" / "site" / "a.txt", "alpha")
    write(tmp_path / "above" / "site" / "sub" / "b.txt", "beta")
    server = Server(tmp_path / "above" / "site")
    yield server
    server.cache.close()
    for thread in threading.enumerate():
        if thread.name == "aserve-dispose":
            thread.join()


def warm(server):
    for _ in range(4):
        server.respond("/a.txt")
        server.respond("/sub/b.txt")
    assert len(server.cache._by_key) == 2


def is_cached(server):
    hits = server.hits
    assert server.is_fresh("/a.txt")
    return server.hits > hits


@pytest.mark.parametrize("directory", ["", "above", "above/site", "above/site/sub"])
def test_writing_to_other_files_makes_no_event(server, tmp_path, directory):
    one, two = tmp_path / directory / "one.log", tmp_path / directory / "two.log"
    with one.open("w") as first, two.open("w") as second:
        warm(server)
        for file in (first, second) * 50:
            file.write("x")
            file.flush()
    assert not server.cache.monitor.has_changes()
    assert is_cached(server)


def flood(directory, count):
    """Change names, each time another one than before."""
    for number in range(count):
        os.close(os.open(directory / f"n{number % 50}", os.O_CREAT))
        os.unlink(directory / f"n{number % 50}")


@pytest.mark.parametrize("directory", [slow("above"), "above/site", slow("above/site/sub")])
def test_reading_a_flood_of_events_stops_after_a_few_reads(
    server, tmp_path, monkeypatch, directory
):
    warm(server)
    flood(tmp_path / directory, 4_000)
    reads = Counter()  # by descriptor: other watches of this process are not meant
    original_read = os.read

    def count_read(descriptor, size):
        reads[descriptor] += size == inotify._READ_SIZE
        return original_read(descriptor, size)

    monkeypatch.setattr(os, "read", count_read)
    assert not is_cached(server)
    assert max(reads.values()) <= MAX_READS
    assert not server.cache._by_key
    assert not server.cache.monitor.has_changes()


def test_events_that_come_faster_than_they_are_read_are_an_overflow(monkeypatch):
    watches = Inotify()
    watches.has_changes = lambda: True
    event = inotify._EVENT.pack(1, 2, 0, 0)
    sizes = []
    monkeypatch.setattr(os, "read", lambda _, size: sizes.append(size) or event * (size // 16))
    with pytest.raises(QueueOverflow):
        watches.read_changes()
    assert len(sizes) == MAX_READS
    monkeypatch.undo()
    watches.close()


def test_a_steady_stream_of_events_pauses_caching_within_a_second(server, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "_MAX_EVENTS", 100)
    warm(server)
    for _ in range(3):
        flood(tmp_path / "above" / "site", 40)  # less than 100 events each
        server.cache.monitor.generation()
    assert not server.cache._by_key
    assert server.cache.monitor._pause


def test_fewer_events_each_second_are_processed(server, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "_MAX_EVENTS", 100)
    warm(server)
    for _ in range(10):
        flood(tmp_path / "above" / "site", 10)
        server.tick()
    assert is_cached(server)


def test_caching_resumes_after_a_pause_that_doubles_each_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(monitor, "_MAX_EVENTS", 100)
    pauses = []
    for _ in range(8):
        warm(server)
        flood(tmp_path / "above" / "site", 100)
        server.cache.monitor.generation()
        seconds = 0
        while server.cache.monitor._pause:
            for _ in range(5):
                server.respond("/a.txt")
            assert not server.cache._by_key
            server.tick()
            seconds += 1
        pauses.append(seconds)
    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64]
    for _ in range(64):
        server.tick()
    assert server.cache.monitor._next_pause == 2
    warm(server)
    write(tmp_path / "above" / "site" / "a.txt", "omega")
    assert not is_cached(server)


def test_a_response_begun_before_a_flood_removes_no_later_watch(server, tmp_path, monkeypatch):
    warm(server)
    request = Request("GET", "/sub/b.txt", headers={"range": "bytes=0-0"}, head="other\r\n\r\n")
    key = server.cache.keys.key(request, keep_alive=True)
    generation = server.cache.monitor.generation()
    dependencies = server.cache.watch_dependencies(server.response_of(request), NOW)
    response, data = server.handle(request)
    server.cache.monitor.reset()
    warm(server)
    server.cache.store(
        CachedResponse(key, [data], response, closes=False), dependencies, generation
    )
    assert key not in server.cache._by_key
    write(tmp_path / "above" / "site" / "sub" / "b.txt", "changed")
    assert server.is_fresh("/sub/b.txt")


def test_a_change_that_affects_everything_evicts_all_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_EVICTED_SINGLY", 1)
    warm(server)
    evicted_singly = []
    monkeypatch.setattr(server.cache, "_evict", evicted_singly.append)
    (tmp_path / "above" / "site").chmod(0o755)
    server.cache.monitor.generation()
    assert not server.cache._by_key
    assert not evicted_singly
    warm(server)
    assert is_cached(server)
