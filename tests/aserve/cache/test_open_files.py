"""Large files are kept open: never for long without use, and never with stale metadata."""

import ctypes
import os
from struct import pack

import pytest

from aserve.cache.cached_response import CachedResponse
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem import mounts
from aserve.filesystem.directory import Directory
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.http1.head_encoder import encode_head
from aserve.policies.site import Site
from tests.aserve.cache.test_response_cache import DATE, NOW, write

SIZE = 300_000


@pytest.fixture(autouse=True)
def _no_mounts(monkeypatch):
    """Let no other program's mount clear the cache while seconds pass here."""
    monkeypatch.setattr(mounts.Mounts, "refresh", lambda self: False)


class Server:
    def __init__(self, root):
        self.site = Site.of_files(Directory(root))
        self.cache = ResponseCache()

    def response_of(self, request):
        return self.site.handle(request, RequestContext(NOW))

    def tick(self):
        self.cache.monitor.tick()
        self.cache.tick()

    def find(self, target):
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\n\r\n")
        return self.cache.lookup_key(self.cache.keys.key(request, keep_alive=True), request, NOW)

    def warm(self, target):
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\n\r\n")
        key = self.cache.keys.key(request, keep_alive=True)
        for _ in range(4):
            response = self.site.handle(request, RequestContext(NOW))
            if not self.cache.lookup_key(key, request, NOW) and self.cache.should_store(
                key, response
            ):
                generation = self.cache.monitor.generation()
                dependencies = self.cache.watch_dependencies(self.response_of(request), NOW)
                head = encode_head(response, DATE, None)
                body = response.body
                parts = [head, *body] if len(body[0]) == SIZE else [head + body[0]]
                self.cache.store(
                    CachedResponse(key, parts, response, closes=False), dependencies, generation
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
    server.cache.close()


def open_files(directory):
    """Return the files below a directory that this process has open, deleted ones too."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [name for name in names if name.startswith(f"{directory}/")]


def rename_over(path):
    write(path.with_name("new"), "y")
    path.with_name("new").replace(path)


@pytest.mark.parametrize("change", [os.unlink, rename_over, lambda path: os.truncate(path, 3)])
def test_a_changed_file_is_closed_within_a_second_without_a_request(server, tmp_path, change):
    server.warm("/0.bin")
    assert len(open_files(tmp_path)) == 1
    change(tmp_path / "0.bin")
    server.tick()
    assert not open_files(tmp_path)


def test_a_file_that_is_not_requested_is_closed_after_a_minute(server, tmp_path):
    server.warm("/0.bin")
    server.warm("/1.bin")
    for _ in range(60):
        server.tick()
        assert server.find("/1.bin")
    assert len(open_files(tmp_path)) == 2
    server.tick()
    assert open_files(tmp_path) == [str(tmp_path / "1.bin")]


def test_small_responses_stay_without_requests(server):
    server.warm("/small.txt")
    for _ in range(1_000):
        server.tick()
    assert server.find("/small.txt")


def test_the_least_recently_used_files_are_closed_first(server, tmp_path):
    server.warm("/small.txt")
    for number in range(4):
        server.warm(f"/{number}.bin")
        server.tick()
    assert server.find("/0.bin")
    assert server.cache.evict_files(2) == 2
    assert {name[-5:] for name in open_files(tmp_path)} == {"0.bin", "3.bin"}
    assert server.cache.evict_files(10) == 2
    assert server.cache.evict_files(10) == 0
    assert not open_files(tmp_path)
    assert server.find("/small.txt")


class Aio:
    """libaio's io_submit: its writes make no inotify event while the file stays open."""

    _SETUP, _SUBMIT, _EVENTS, _DESTROY = 206, 209, 208, 207

    def __init__(self):
        if os.uname().machine != "x86_64":
            pytest.skip("the system call numbers are those of x86-64")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._context = ctypes.c_uint64()
        if self._libc.syscall(self._SETUP, 4, ctypes.byref(self._context)):
            pytest.skip("no io_submit here")

    def write(self, descriptor, data):
        buffer = ctypes.create_string_buffer(data, len(data))
        # struct iocb: data, key and flags, opcode 1 (PWRITE), priority, file, buffer, size, offset
        block = ctypes.create_string_buffer(
            pack("<QIIHhIQQqQII", 0, 0, 0, 1, 0, descriptor, ctypes.addressof(buffer), len(data),
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


def test_a_write_without_an_event_is_noticed_at_once_in_a_large_file(server, tmp_path, aio):
    descriptor = os.open(tmp_path / "0.bin", os.O_RDWR)
    try:
        server.warm("/0.bin")
        aio.write(descriptor, b"z" * 100)
        assert server.find("/0.bin") is None
        assert len(open_files(tmp_path)) == 1  # of this test
    finally:
        os.close(descriptor)


def test_a_write_without_an_event_is_noticed_within_a_second_in_a_small_file(server, tmp_path, aio):
    descriptor = os.open(tmp_path / "small.txt", os.O_RDWR)
    try:
        server.warm("/small.txt")
        aio.write(descriptor, b"SMALL")
        request = Request("GET", "/small.txt", head="GET /small.txt HTTP/1.1\r\n\r\n")
        key = server.cache.keys.key(request, keep_alive=True)
        assert server.cache.lookup_key(key, request, NOW + 1) is None
    finally:
        os.close(descriptor)


def test_a_file_that_changed_before_its_response_was_stored_is_not_sent(server, tmp_path, aio):
    request = Request("GET", "/0.bin", head="GET /0.bin HTTP/1.1\r\n\r\n")
    key = server.cache.keys.key(request, keep_alive=True)
    descriptor = os.open(tmp_path / "0.bin", os.O_RDWR)
    try:
        generation = server.cache.monitor.generation()
        dependencies = server.cache.watch_dependencies(server.response_of(request), NOW)
        response = server.site.handle(request, RequestContext(NOW))
        aio.write(descriptor, b"z" * 100)
        parts = [encode_head(response, DATE, None), *response.body]
        server.cache.store(
            CachedResponse(key, parts, response, closes=False), dependencies, generation
        )
        assert server.cache.lookup_key(key, request, NOW) is None
    finally:
        os.close(descriptor)
