"""The cache takes at most 1.25 times its budget of Python's memory, by tracemalloc."""

import os
import tracemalloc

import pytest

from aserve.cache import response_cache
from aserve.cache.cached_response import CachedResponse
from aserve.cache.response_cache import ResponseCache
from aserve.compression.encoded_memory import EncodedMemory
from aserve.compression.file_encoder import FileEncoder
from aserve.config.settings import Settings
from aserve.filesystem import monitor
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.http1.head_encoder import encode_head
from aserve.policies.site import Site
from aserve.server.site_factory import build_site
from tests.aserve.cache.test_response_cache import DATE, NOW, write

BUDGET = 8 << 20


class MeasuredCache:
    """A cache with a small budget, and the memory that Python has used since it was made."""

    def __init__(self, root):
        self.site = Site.of_files(Directory(root))
        tracemalloc.start()
        self.cache = ResponseCache(max_bytes=BUDGET)
        self._start, _ = tracemalloc.get_traced_memory()

    @property
    def size(self):
        return tracemalloc.get_traced_memory()[0] - self._start

    def request(self, target, **headers):
        """Send a request, with headers that affect the response and some that do not."""
        headers = {"host": "x"} | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"GET {target} HTTP/1.1\r\n{lines}\r\n"
        del headers["host"]
        headers.pop("x-nothing", None)
        request = Request("GET", target, headers=headers, head=head)
        key = self.cache.keys.key(request, keep_alive=True)
        if self.cache.lookup_head(head.encode(), NOW) or key is None:
            return
        if self.cache.lookup_key(key, request, NOW):
            return
        response = self.site.handle(request, RequestContext(NOW))
        if self.cache.should_store(key, response):
            generation = self.cache.monitor.generation()
            at_once = self.cache.root_is_local
            dependencies = self.cache.watch_dependencies(response, NOW, at_once=at_once)
            parts = [encode_head(response, DATE, None), *response.body]
            if all(isinstance(part, bytes) for part in parts):
                parts = [b"".join(parts)]
            self.cache.store(
                CachedResponse(key, parts, response, closes=False), dependencies, generation
            )


@pytest.fixture
def deep(tmp_path):
    """Return a directory below many others, two of which have the longest names there are."""
    directory = tmp_path.joinpath("x" * 250, "y" * 250, *"abcdefgh")
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def measured(deep, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_HEADS", 4_096)
    monkeypatch.setattr(monitor, "_MAX_CHANGES", 1_024)
    measured = MeasuredCache(deep)
    yield measured
    tracemalloc.stop()
    measured.cache.close()


def small_files(measured, directory):
    for number in range(1_600):
        write(directory / f"{number}.txt", "x")
        for _ in range(4):
            measured.request(f"/{number}.txt")


def long_names(measured, directory):
    for number in range(1_200):
        name = f"{number:04}{'n' * 245}"
        write(directory / name, "x")
        for _ in range(4):
            measured.request(f"/{name}")


def whole_bodies(measured, directory):
    for number in range(400):
        write(directory / f"{number}.txt", "x" * 30_000)
        for _ in range(4):
            measured.request(f"/{number}.txt")


def tags(size):
    def fill(measured, directory):
        write(directory / "a.txt", "x")
        for number in range(2_500):
            for _ in range(5):
                measured.request("/a.txt", if_none_match=f'"{number:05}{"t" * size}"')

    return fill


def heads(size):
    def fill(measured, directory):
        write(directory / "a.txt", "x")
        for number in range(4_000):
            for _ in range(3):
                measured.request("/a.txt", x_nothing=f"{number:05}{'h' * size}")

    return fill


def many_headers(measured, directory):
    write(directory / "a.txt", "x")
    for number in range(1_500):
        for _ in range(5):
            measured.request("/a.txt", **{f"if_f{one}": f"{number}" for one in range(20)})


def long_targets(measured, directory):
    write(directory / "a.txt", "x")
    for number in range(1_500):
        for _ in range(5):
            measured.request(f"/a.txt?{number:05}{'q' * 6_000}")


def ranges(measured, directory):
    write(directory / "a.bin", "x" * 300_000)
    for number in range(600):
        parts = ",".join(f"{at}-{at}" for at in range(number, number + 80, 2))
        for _ in range(5):
            measured.request("/a.bin", range=f"bytes={parts},100000-299999")


many_heads = heads(900)
FILLS = [
    small_files,
    long_names,
    whole_bodies,
    tags(0),
    tags(1_000),
    tags(7_000),
    tags(30_000),
    heads(0),
    many_heads,
    heads(7_000),
    heads(30_000),
    many_headers,
    long_targets,
    ranges,
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fill",
    FILLS,
    ids=lambda fill: fill.__qualname__.partition(".")[0],
)
def test_all_cached_data_is_weighed(measured, deep, fill):
    fill(measured, deep)
    assert measured.size <= 1.25 * BUDGET
    weight = measured.cache._total_weight
    assert measured.size <= 1.25 * weight + (1 << 20)


def test_a_long_head_is_cached_nowhere(measured, deep):
    write(deep / "a.txt", "x")
    tags(response_cache.MAX_HEAD_SIZE)(measured, deep)
    assert not measured.cache._by_key
    assert not measured.cache._by_head
    assert measured.cache.keys._cached_relevant_headers.cache_info().currsize == 0
    assert measured.size < 100_000


@pytest.mark.slow
def test_eviction_subtracts_the_weight(measured, deep):
    tags(1_000)(measured, deep)
    heads(100)(measured, deep)
    for cached in list(measured.cache._by_key.values()):
        measured.cache._evict(cached)
    assert measured.cache._total_weight == 0
    assert not measured.cache._dependencies._by_name


def test_compressed_content_counts_as_long_as_a_response_keeps_it(measured, deep):
    """Though the memory of what compresses has dropped it."""
    encoder = FileEncoder(EncodedMemory(1 << 20))
    measured.site = build_site(Settings(deep), Mounts(), encoder=encoder)
    cache = measured.cache
    cache._max_bytes = 1 << 20
    for number in range(8):
        write(deep / f"{number}.txt", os.urandom(200_000).hex())
        for _ in range(4):
            measured.request(f"/{number}.txt", accept_encoding="gzip")
    assert 2 <= len(cache._by_key) <= 5
    assert len(cache._with_files) == len(cache._by_key)
    kept = set(cache._by_key)
    write(deep / "large.txt", os.urandom(400_000).hex())
    for _ in range(4):
        measured.request("/large.txt", accept_encoding="gzip")
    assert set(cache._by_key) == kept  # a large one does not evict all others
