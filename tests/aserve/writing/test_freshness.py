"""A response that begins after a write was answered never has the old bytes."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from aserve.cache import path_watcher
from tests.aserve import programs
from tests.conformance.client import Address
from tests.conformance.serving import address_of
from tests.marks import slow, slow_except

REPEATS, QUICK_REPEATS = 200, 40
READERS = 2
WARM = 3  # responses on each, of which the last ones come from the cache
SETTINGS: dict[str, dict[str, Any]] = {
    "warm": {},
    "cold": {"response_cache": 0},
    "asyncio": {"model": "asyncio"},
    "epoll": {"model": "epoll"},
    "reactor": {"model": "reactor"},
}


@contextmanager
def clients(address: Address, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """Open connections; each stays with the worker that has accepted it."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(http.client.HTTPConnection(*address, timeout=60)))
            for _ in range(count)
        ]


def ask(
    client: http.client.HTTPConnection, method: str, target: str, body: bytes | None = None
) -> tuple[int, bytes]:
    client.request(method, target, body)
    response = client.getresponse()
    return response.status, response.read()


def alternate(
    address: Address,
    repeats: int,
    is_cached: Callable[[], bool] = lambda: True,
    connections: int = READERS,
) -> int:
    """Replace, delete and add a file again and again, and read it on every connection.

    Returns how often it was in the cache before a write.
    """
    cached = 0
    with clients(address, connections) as readers, clients(address, connections) as writers:
        for number in range(repeats):
            cached += is_cached()
            writer = writers[number % connections]
            is_deleted = number % 5 == 4
            body = b"%06d" % number
            status, _ = ask(writer, "DELETE" if is_deleted else "PUT", "/a.txt", body)
            assert status in {201, 204}
            expected = (404, None) if is_deleted else (200, body)
            for reader in readers:
                for _ in range(WARM):
                    status, found = ask(reader, "GET", "/a.txt")
                    assert (status, None if is_deleted else found) == expected
    return cached


def is_stored(model: Any) -> bool:
    """Wait until no response is being stored, which happens after it is sent; is there one?"""
    pool = model.thread_pool
    while pool._free_slots < pool._size.threads + pool._size.queue:
        time.sleep(0.0005)  # there is no event to wait for
    return bool(model.cache._by_key)


@pytest.fixture(autouse=True)
def caches_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache files that have just changed, which else happens seconds later."""
    monkeypatch.setattr(path_watcher, "_is_recent", lambda *_: False)


@pytest.mark.parametrize("repeats", [QUICK_REPEATS, slow(REPEATS)])
@pytest.mark.parametrize("name", slow_except(SETTINGS, "warm", "cold"))
def test_no_response_after_a_write_is_stale(name: str, repeats: int, tmp_path: Path) -> None:
    settings = {"write": ("/",), "min_free": 0, "fsync": False} | SETTINGS[name]
    with programs.serve(tmp_path, **settings) as server:
        if name == "warm":
            model = server._running._worker._current._server
            assert alternate(address_of(server), repeats, lambda: is_stored(model))
        else:
            alternate(address_of(server), repeats)


_PROGRAM = """
from aserve.__main__ import main
from aserve.cache import path_watcher

path_watcher._is_recent = lambda *_: False
main()
"""


@pytest.mark.slow
def test_no_response_of_another_worker_is_stale(tmp_path: Path) -> None:
    options = ("--write", "--min-free=0", "--no-fsync", "--workers=2", "--port=0")
    program = programs.start_code(_PROGRAM, tmp_path, *options, "--host=127.0.0.1")
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        # The kernel distributes them over the workers.
        alternate(address_of(programs.Running(banner[1].split()[1])), REPEATS, connections=8)
    finally:
        program.terminate()
        program.communicate(60)
        program.close()
