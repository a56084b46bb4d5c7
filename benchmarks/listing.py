"""What a page of a directory with 50,000 files costs, and what other clients notice of it."""

import os
import re
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.held import held
from benchmarks.idle import KIB
from benchmarks.loads import Ask, fetch, load
from benchmarks.processes import NoMeasurement, processor_seconds
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Server, running

FOLDER = "cold"
_TARGET = f"/{FOLDER}/"
_FIRST = b"100.txt"
_SCRIPT_DATA = re.compile(rb"<template[^>]*>\s*([A-Za-z0-9+/=]+)\s*</template>")
_REPEATS = 5
_OTHER_CLIENT = Ask(1)


def measure(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what pages cost a server that was just started, and a small file beside them."""
    with _pinned(SERVER_CORE):
        least = scan_seconds(root / FOLDER)
    with running(server, root) as one, _pinned(LOAD_CORE):
        load("wrk", _OTHER_CLIENT, one.port, 1)
        begun = time.perf_counter()
        size = _page_size(one.port)
        first = time.perf_counter() - begun
        begun, used = time.perf_counter(), processor_seconds(one.pid)
        for _ in range(_REPEATS):
            _page_size(one.port)
        again = (time.perf_counter() - begun) / _REPEATS
        used = (processor_seconds(one.pid) - used) / _REPEATS
        alone = load("wrk", _OTHER_CLIENT, one.port, seconds)
        with _pages_requested(one.port):
            beside = load("wrk", _OTHER_CLIENT, one.port, seconds)
            held_up = held(one.pid, one.port, seconds)
    return {
        "first_ms": first * 1e3,
        "first_times": first / least,
        "again_ms": again * 1e3,
        "page_cpu_ms": used * 1e3,
        "page_kib": size / KIB,
        "p99_alone_ms": alone.p99_ms,
        "p99_beside_ms": beside.p99_ms,
        "max_alone_ms": alone.max_ms,
        "max_beside_ms": beside.max_ms,
        "held_p99_ms": held_up.p99_ms,
        "held_max_ms": held_up.max_ms,
    }


def scan_seconds(directory: Path) -> float:
    """Return how long it takes to read a directory's names, sizes and times, and to sort them."""
    begun = time.perf_counter()
    with os.scandir(directory) as entries:
        found = [
            (one.name, status.st_size, status.st_mtime) for one in entries if (status := one.stat())
        ]
    found.sort()
    return time.perf_counter() - begun


def _page_size(port: int) -> int:
    status, body = fetch(port, _TARGET, {"Accept": "text/html"})
    if status != 200:
        raise NoMeasurement(f"it answers {_TARGET} with {status}")
    if not names_first_files(body):
        raise NoMeasurement("its page does not name the first files")
    return len(body)


def names_first_files(page: bytes) -> bool:
    """Tell whether a page names them, in its HTML or in data for its script, which dufs encodes."""
    data = _SCRIPT_DATA.search(page)
    return _FIRST in page or (data is not None and _FIRST in b64decode(data[1]))


@contextmanager
def _pinned(core: str) -> Iterator[None]:
    """Have this thread, and those that it starts, run on a core until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _pages_requested(port: int) -> Iterator[None]:
    """Request one page after the other until the block ends."""
    is_over = threading.Event()
    failed: list[NoMeasurement] = []

    def request() -> None:
        try:
            while not is_over.is_set():
                _page_size(port)
        except NoMeasurement as error:
            failed.append(error)

    thread = threading.Thread(target=request)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if failed:
        raise failed[0]
