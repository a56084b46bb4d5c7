"""Large files are kept open: never for long without use, and never in a state they are not in."""

import ctypes
import os
from struct import pack

import pytest

from aserve.cache.response_cache import CachedResponse, ResponseCache, cache_key
from aserve.filesystem import mounts
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http.messages import Request, encode_head
from tests.aserve.cache.test_response_cache import DATE, NOW, write

SIZE = 300_000


class Server:
    def __init__(self, root):
        self.site = StaticSite(Directory(root))
        self.recall = ResponseCache(os.fsencode(root))

    def find(self, target):
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\n\r\n")
        return self.recall.lookup_key(cache_key(request, keep_alive=True), request, NOW)

    def warm(self, target):
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\n\r\n")
        key = cache_key(request, keep_alive=True)
        for _ in range(4):
            response = self.site.handle(request, NOW)
            if not self.recall.lookup_key(key, request, NOW) and self.recall.should_store(
                key, response
            ):
                since, trails = (
                    self.recall.generation(),
                    self.recall.watch_dependencies(request, NOW),
                )
                head = encode_head(response, DATE, None)
                body = response.body
                pieces = [head, *body] if len(body[0]) == SIZE else [head + body[0]]
                self.recall.store(
                    CachedResponse(key, pieces, response, closes=False), trails, since
                )
        assert self.find(target)


@pytest.fixture(params=["inotify", "stat"])
def server(request, tmp_path, monkeypatch):
    if request.param == "stat":
        monkeypatch.setattr(
            mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.STATE
        )
    for number in range(4):
        write(tmp_path / f"{number}.bin", "x" * SIZE)
    write(tmp_path / "small.txt", "small")
    server = Server(tmp_path)
    yield server
    server.recall.close()


def open_files(folder):
    """Return the names below a folder that this process has open, deleted ones too."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [name for name in names if name.startswith(f"{folder}/")]


def rename_over(path):
    write(path.with_name("new"), "y")
    path.with_name("new").replace(path)


@pytest.mark.parametrize("end", [os.unlink, rename_over, lambda path: os.truncate(path, 3)])
def test_a_file_that_has_ended_is_closed_within_a_second_without_a_request(server, tmp_path, end):
    server.warm("/0.bin")
    assert len(open_files(tmp_path)) == 1
    end(tmp_path / "0.bin")
    server.recall.tick()
    assert not open_files(tmp_path)


def test_a_file_that_nobody_asks_for_is_closed_after_a_minute(server, tmp_path):
    server.warm("/0.bin")
    server.warm("/1.bin")
    for _ in range(60):
        server.recall.tick()
        assert server.find("/1.bin")
    assert len(open_files(tmp_path)) == 2
    server.recall.tick()
    assert open_files(tmp_path) == [str(tmp_path / "1.bin")]


def test_small_replies_stay_however_long_nobody_asks(server):
    server.warm("/small.txt")
    for _ in range(1_000):
        server.recall.tick()
    assert server.find("/small.txt")


def test_descriptors_are_given_up_the_longest_unused_first(server, tmp_path):
    server.warm("/small.txt")
    for number in range(4):
        server.warm(f"/{number}.bin")
        server.recall.tick()
    assert server.find("/0.bin")
    assert server.recall.evict_files(2) == 2
    assert {name[-5:] for name in open_files(tmp_path)} == {"0.bin", "3.bin"}
    assert server.recall.evict_files(10) == 2
    assert server.recall.evict_files(10) == 0
    assert not open_files(tmp_path)
    assert server.find("/small.txt")


class Aio:
    """libaio's io_submit: its writes make no inotify event while the file stays open."""

    _SETUP, _SUBMIT, _EVENTS, _DESTROY = 206, 209, 208, 207

    def __init__(self):
        if os.uname().machine != "x86_64":
            pytest.skip("the numbers of the calls are those of x86-64")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._context = ctypes.c_uint64()
        if self._libc.syscall(self._SETUP, 4, ctypes.byref(self._context)):
            pytest.skip("no io_submit here")

    def write(self, descriptor, octets):
        buffer = ctypes.create_string_buffer(octets, len(octets))
        # struct iocb: data, key and flags, opcode 1 (PWRITE), priority, file, buffer, size, offset
        block = ctypes.create_string_buffer(
            pack("<QIIHhIQQqQII", 0, 0, 0, 1, 0, descriptor, ctypes.addressof(buffer), len(octets),
                 0, 0, 0, 0), 64)  # fmt: skip
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(block))
        submitted = self._libc.syscall(self._SUBMIT, self._context, ctypes.c_long(1), pointers)
        assert submitted == 1
        events = ctypes.create_string_buffer(32)
        one = ctypes.c_long(1)
        assert self._libc.syscall(self._EVENTS, self._context, one, one, events, None) == 1

    def close(self):
        self._libc.syscall(self._DESTROY, self._context)


@pytest.fixture
def aio():
    aio = Aio()
    yield aio
    aio.close()


def test_what_is_written_without_an_event_is_seen_at_once_in_a_large_file(server, tmp_path, aio):
    descriptor = os.open(tmp_path / "0.bin", os.O_RDWR)
    try:
        server.warm("/0.bin")
        aio.write(descriptor, b"z" * 100)
        assert server.find("/0.bin") is None
        assert len(open_files(tmp_path)) == 1  # of this test
    finally:
        os.close(descriptor)


def test_what_is_written_without_an_event_is_seen_within_a_second_in_a_small_file(
    server, tmp_path, aio
):
    descriptor = os.open(tmp_path / "small.txt", os.O_RDWR)
    try:
        server.warm("/small.txt")
        aio.write(descriptor, b"SMALL")
        request = Request("GET", "/small.txt", head="GET /small.txt HTTP/1.1\r\n\r\n")
        key = cache_key(request, keep_alive=True)
        assert server.recall.lookup_key(key, request, NOW + 1) is None
    finally:
        os.close(descriptor)


def test_a_file_that_changed_between_its_answer_and_its_keeping_is_not_sent(server, tmp_path, aio):
    request = Request("GET", "/0.bin", head="GET /0.bin HTTP/1.1\r\n\r\n")
    key = cache_key(request, keep_alive=True)
    descriptor = os.open(tmp_path / "0.bin", os.O_RDWR)
    try:
        since, trails = server.recall.generation(), server.recall.watch_dependencies(request, NOW)
        response = server.site.handle(request, NOW)
        aio.write(descriptor, b"z" * 100)
        pieces = [encode_head(response, DATE, None), *response.body]
        server.recall.store(CachedResponse(key, pieces, response, closes=False), trails, since)
        assert server.recall.lookup_key(key, request, NOW) is None
    finally:
        os.close(descriptor)
