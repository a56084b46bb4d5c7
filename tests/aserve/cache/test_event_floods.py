"""Whoever writes all the time beside, above or inside the folder holds up nobody."""

import os
import threading

import pytest

from aserve.cache import response_cache
from aserve.cache.response_cache import CachedResponse, cache_key
from aserve.http.messages import Request
from aserve.linux import inotify
from aserve.linux.inotify import MAX_READS, Inotify, QueueOverflow
from tests.aserve.cache.test_response_cache import NOW, Server, write


@pytest.fixture
def server(tmp_path):
    (tmp_path / "above" / "site" / "sub").mkdir(parents=True)
    write(tmp_path / "above" / "site" / "a.txt", "alpha")
    write(tmp_path / "above" / "site" / "sub" / "b.txt", "beta")
    server = Server(tmp_path / "above" / "site")
    yield server
    server.recall.close()
    for thread in threading.enumerate():
        if thread.name == "aserve-dispose":
            thread.join()


def warm(server):
    for _ in range(4):
        server.reply("/a.txt")
        server.reply("/sub/b.txt")
    assert len(server.recall._by_key) == 2


def is_remembered(server):
    hits = server.hits
    assert server.is_true("/a.txt")
    return server.hits > hits


@pytest.mark.parametrize("where", ["", "above", "above/site", "above/site/sub"])
def test_writing_to_other_files_makes_no_event(server, tmp_path, where):
    one, two = tmp_path / where / "one.log", tmp_path / where / "two.log"
    with one.open("w") as first, two.open("w") as second:
        warm(server)
        for file in (first, second) * 50:
            file.write("x")
            file.flush()
    assert not server.recall._has_changes()
    assert is_remembered(server)


def flood(folder, count):
    """Change names, each another one than the one before."""
    for number in range(count):
        os.close(os.open(folder / f"n{number % 50}", os.O_CREAT))
        os.unlink(folder / f"n{number % 50}")


@pytest.mark.parametrize("where", ["above", "above/site", "above/site/sub"])
def test_a_flood_of_names_is_given_up_after_a_few_reads(server, tmp_path, monkeypatch, where):
    warm(server)
    flood(tmp_path / where, 4_000)
    reads = []
    true_read = os.read
    monkeypatch.setattr(os, "read", lambda *a: reads.append(a) or true_read(*a))
    assert not is_remembered(server)
    assert len([size for _, size in reads if size == inotify._READ_SIZE]) <= MAX_READS
    assert not server.recall._by_key
    assert not server.recall._has_changes()


def test_who_writes_faster_than_anybody_reads_ends_a_look(monkeypatch):
    watched = Inotify()
    watched.has_changes = lambda: True
    event = inotify._EVENT.pack(1, 2, 0, 0)
    sizes = []
    monkeypatch.setattr(os, "read", lambda _, size: sizes.append(size) or event * (size // 16))
    with pytest.raises(QueueOverflow):
        watched.read_changes()
    assert len(sizes) == MAX_READS
    monkeypatch.undo()
    watched.close()


def test_a_steady_stream_is_given_up_within_its_second(server, tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_EVENTS", 100)
    warm(server)
    for _ in range(3):
        flood(tmp_path / "above" / "site", 40)  # less than 100 events each
        server.recall.generation()
    assert not server.recall._by_key
    assert server.recall._pause


def test_less_than_that_each_second_is_listened_to(server, tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_EVENTS", 100)
    warm(server)
    for _ in range(10):
        flood(tmp_path / "above" / "site", 10)
        server.recall.tick()
    assert is_remembered(server)


def test_after_a_while_it_remembers_again_and_waits_longer_each_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_EVENTS", 100)
    pauses = []
    for _ in range(8):
        warm(server)
        flood(tmp_path / "above" / "site", 100)
        server.recall.generation()
        seconds = 0
        while server.recall._pause:
            for _ in range(5):
                server.reply("/a.txt")
            assert not server.recall._by_key
            server.recall.tick()
            seconds += 1
        pauses.append(seconds)
    assert pauses == [2, 4, 8, 16, 32, 64, 64, 64]
    for _ in range(64):
        server.recall.tick()
    assert server.recall._next_pause == 2
    warm(server)
    write(tmp_path / "above" / "site" / "a.txt", "omega")
    assert not is_remembered(server)


def test_work_begun_before_a_flood_gives_back_nothing_of_later(server, tmp_path, monkeypatch):
    warm(server)
    request = Request("GET", "/sub/b.txt", headers={"range": "bytes=0-0"}, head="other\r\n\r\n")
    key = cache_key(request, keep_alive=True)
    since = server.recall.generation()
    trails = server.recall.watch_dependencies(request, NOW)
    response, octets = server.true_reply(request)
    server.recall._clear_and_rewatch()
    warm(server)
    server.recall.store(CachedResponse(key, [octets], response, closes=False), trails, since)
    assert key not in server.recall._by_key
    write(tmp_path / "above" / "site" / "sub" / "b.txt", "changed")
    assert server.is_true("/sub/b.txt")


def test_what_everything_depends_on_is_forgotten_at_a_stroke(server, tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_EVICTED_SINGLY", 1)
    warm(server)
    one_by_one = []
    monkeypatch.setattr(server.recall, "_evict", one_by_one.append)
    (tmp_path / "above" / "site").chmod(0o755)
    server.recall.generation()
    assert not server.recall._by_key
    assert not one_by_one
    warm(server)
    assert is_remembered(server)
