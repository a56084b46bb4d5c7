"""What is remembered takes at most 1.25 times its budget: of Python's memory, by tracemalloc."""

import os
import tracemalloc

import pytest

from aserve.cache import response_cache
from aserve.cache.response_cache import CachedResponse, ResponseCache, cache_key
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http.messages import Request, encode_head
from tests.aserve.cache.test_response_cache import DATE, NOW, write

BUDGET = 8 << 20


class Memory:
    """A cache with a small budget, and what it has taken of Python's memory since it was made."""

    def __init__(self, root):
        self.site = StaticSite(Directory(root))
        tracemalloc.start()
        self.recall = ResponseCache(os.fsencode(root), max_bytes=BUDGET)
        self._start, _ = tracemalloc.get_traced_memory()

    @property
    def taken(self):
        return tracemalloc.get_traced_memory()[0] - self._start

    def ask(self, target, **fields):
        """Ask as a client does: lines that decide and lines that do not."""
        fields = {"host": "x"} | {name.replace("_", "-"): value for name, value in fields.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"GET {target} HTTP/1.1\r\n{lines}\r\n"
        del fields["host"]
        fields.pop("x-nothing", None)
        request = Request("GET", target, headers=fields, head=head)
        key = cache_key(request, keep_alive=True)
        if self.recall.lookup_head(head.encode(), NOW) or key is None:
            return
        if self.recall.lookup_key(key, request, NOW):
            return
        response = self.site.handle(request, NOW)
        if self.recall.should_store(key, response):
            since = self.recall.generation()
            at_once = self.recall.root_is_local
            trails = self.recall.watch_dependencies(request, NOW, at_once=at_once)
            pieces = [encode_head(response, DATE, None), *response.body]
            if all(isinstance(piece, bytes) for piece in pieces):
                pieces = [b"".join(pieces)]
            self.recall.store(CachedResponse(key, pieces, response, closes=False), trails, since)


@pytest.fixture
def deep(tmp_path):
    """Return a folder below many others, two of which have the longest names there are."""
    folder = tmp_path.joinpath("x" * 250, "y" * 250, *"abcdefgh")
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def memory(deep, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_HEADS", 4_096)
    monkeypatch.setattr(response_cache, "_MAX_CHANGES", 1_024)
    response_cache._cached_deciding_headers.cache_clear()
    memory = Memory(deep)
    yield memory
    tracemalloc.stop()
    memory.recall.close()


def small_files(memory, folder):
    for number in range(1_600):
        write(folder / f"{number}.txt", "x")
        for _ in range(4):
            memory.ask(f"/{number}.txt")


def long_names(memory, folder):
    for number in range(1_200):
        name = f"{number:04}{'n' * 245}"
        write(folder / name, "x")
        for _ in range(4):
            memory.ask(f"/{name}")


def whole_bodies(memory, folder):
    for number in range(400):
        write(folder / f"{number}.txt", "x" * 30_000)
        for _ in range(4):
            memory.ask(f"/{number}.txt")


def tags(size):
    def ask(memory, folder):
        write(folder / "a.txt", "x")
        for number in range(2_500):
            for _ in range(5):
                memory.ask("/a.txt", if_none_match=f'"{number:05}{"t" * size}"')

    return ask


def heads(size):
    def ask(memory, folder):
        write(folder / "a.txt", "x")
        for number in range(4_000):
            for _ in range(3):
                memory.ask("/a.txt", x_nothing=f"{number:05}{'h' * size}")

    return ask


def many_fields(memory, folder):
    write(folder / "a.txt", "x")
    for number in range(1_500):
        for _ in range(5):
            memory.ask("/a.txt", **{f"if_f{one}": f"{number}" for one in range(20)})


def long_targets(memory, folder):
    write(folder / "a.txt", "x")
    for number in range(1_500):
        for _ in range(5):
            memory.ask(f"/a.txt?{number:05}{'q' * 6_000}")


def ranges(memory, folder):
    write(folder / "a.bin", "x" * 300_000)
    for number in range(600):
        parts = ",".join(f"{at}-{at}" for at in range(number, number + 80, 2))
        for _ in range(5):
            memory.ask("/a.bin", range=f"bytes={parts},100000-299999")


@pytest.mark.parametrize(
    "ask",
    [
        small_files,
        long_names,
        whole_bodies,
        tags(0),
        tags(1_000),
        tags(7_000),
        tags(30_000),
        heads(0),
        heads(900),
        heads(7_000),
        heads(30_000),
        many_fields,
        long_targets,
        ranges,
    ],
    ids=lambda ask: ask.__qualname__.partition(".")[0],
)
def test_all_that_is_remembered_is_weighed(memory, deep, ask):
    ask(memory, deep)
    assert memory.taken <= 1.25 * BUDGET
    weighed = memory.recall._total_weight
    assert memory.taken <= 1.25 * weighed + (1 << 20)


def test_a_long_head_is_remembered_by_nothing(memory, deep):
    write(deep / "a.txt", "x")
    tags(response_cache._MAX_HEAD_SIZE)(memory, deep)
    assert not memory.recall._by_key
    assert not memory.recall._by_head
    assert response_cache._cached_deciding_headers.cache_info().currsize == 0
    assert memory.taken < 100_000


def test_the_weight_of_what_is_forgotten_is_given_back(memory, deep):
    tags(1_000)(memory, deep)
    heads(100)(memory, deep)
    for kept in list(memory.recall._by_key.values()):
        memory.recall._evict(kept)
    assert memory.recall._total_weight == 0
    assert not memory.recall._by_dependency
