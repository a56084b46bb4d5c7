"""A response is what is on disk at the time of the request: over real sockets, of any size."""

import ctypes
import errno
import gzip
import os
import random
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path

import pytest

import aserve
from aserve.linux import inotify
from tests.aserve.hanging import TIMEOUT
from tests.marks import slow, slow_except

OLD = 1_000_000_000
REQUESTS = [
    ("a.bin", "identity"),
    ("a.bin", "gzip"),
    ("link.bin", "identity"),
    ("sub/b.bin", "gzip"),
]
CACHE_SIZES = [pytest.param(64 << 20, id="cached"), pytest.param(0, id="uncached")]
HUGE = 12 << 20
"""Far more than socket buffers hold: the response is in progress until the client reads it."""


@contextmanager
def without_privileges():
    """Drop the capabilities that let root read every file, in this thread and those it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)  # version 3 of capset(2), this thread
    capabilities = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable
    assert libc.capget(header, capabilities) == 0
    assert (
        libc.capset(header, (ctypes.c_uint32 * 6)(0, *capabilities[1:3], 0, *capabilities[4:])) == 0
    )
    try:
        yield
    finally:
        assert libc.capset(header, capabilities) == 0


class FakeLibc:
    """The C library of a system with few inotify instances or few watches."""

    def __init__(self, instances, watches):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._instances, self._watches = instances, watches
        self._numbers = set()

    def inotify_init1(self, flags):
        if not self._instances:
            return _fail(errno.EMFILE)
        self._instances -= 1
        return self._libc.inotify_init1(flags)

    def inotify_add_watch(self, descriptor, path, mask):
        number = self._libc.inotify_add_watch(descriptor, path, mask)
        if number < 0 or number in self._numbers:
            return number
        if len(self._numbers) < self._watches:
            self._numbers.add(number)
            return number
        self._libc.inotify_rm_watch(descriptor, number)
        return _fail(errno.ENOSPC)

    def inotify_rm_watch(self, descriptor, number):
        self._numbers.discard(number)
        return self._libc.inotify_rm_watch(descriptor, number)


def _fail(error):
    ctypes.set_errno(error)
    return -1


class Tree:
    """A directory whose files change, and the responses that are expected for them."""

    def __init__(self, root, size):
        self.root, self._size = root, size
        self._random = random.Random(size)
        self._age = OLD

    def path(self, target):
        return self.root / target

    def random_data(self):
        return self._random.randbytes(self._size)

    def choice(self, *options):
        return self._random.choice(options)

    def settle(self, *, aged):
        """Restore missing files. aged: make all of them so old that they may be cached."""
        sub, link = self.path("sub"), self.path("link.bin")
        sub.mkdir(exist_ok=True, parents=True)
        for path in (self.path("a.bin"), sub / "b.bin"):
            if not path.exists() or path.stat().st_size != self._size:
                path.write_bytes(self.random_data())
            path.chmod(0o644)
        if not link.is_symlink():
            link.symlink_to("a.bin")
        self._age += 1  # another one each time, or only the ctime would differ
        for path in self.root.rglob("*.bin*") if aged else ():
            os.utime(path, (self._age, self._age))

    def expected(self, target, coding):
        """Return status, coding, body and file state as they are on disk now."""
        path = self.path(target)
        if not path.exists():
            return 404, None, None, None
        status = path.stat()
        if not status.st_mode & 0o400:
            return 403, None, None, None
        packed = path.with_name(path.name + ".gz")
        if coding == "gzip" and packed.exists():
            oldest = int(status.st_mtime) - 1  # an older one was made of an earlier file
            path = packed if packed.stat().st_mtime >= oldest else path
        coding = "gzip" if path is packed else None
        status = path.stat()
        state = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        return 200, coding, path.read_bytes(), state


class Reader:
    """A client that compares each response with the disk."""

    def __init__(self, tree, host, port):
        self._tree = tree
        self.connection = HTTPConnection(host, port, timeout=TIMEOUT)
        self._tags = {}  # (target, coding): state, entity tag

    def get(self, target, **headers):
        self.connection.request("GET", f"/{target}", headers=headers)
        response = self.connection.getresponse()
        return response, response.read()

    def check(self, *, with_etags=False):
        """Request everything; raises AssertionError for a response that is not what is on disk.

        with_etags: also send conditional requests with the current and the earlier entity tags.
        """
        for target, coding in REQUESTS:
            self._check(target, coding, with_etags)

    def _check(self, target, coding, with_etags):
        headers = {"Accept-Encoding": coding}
        response, body = self.get(target, **headers)
        status, used, expected_body, state = self._tree.expected(target, coding)
        assert (response.status, response.headers["Content-Encoding"]) == (status, used), target
        if status != 200:
            return
        assert body == expected_body, target
        tag = response.headers["ETag"]
        old_state, old_tag = self._tags.get((target, coding), (state, tag))
        assert (tag == old_tag) == (state == old_state), target
        self._tags[target, coding] = state, tag
        for condition in {old_tag, tag} if with_etags else ():
            response, body = self.get(target, **headers, **{"If-None-Match": condition})
            expected = (304, b"") if condition == tag else (200, expected_body)
            assert (response.status, body) == expected, target
            assert response.headers["ETag"] == tag


def rename_over(tree):
    """Same size, same mtime: only the inode and its ctime differ."""
    path, new = tree.path("a.bin"), tree.path("new")
    new.write_bytes(tree.random_data())
    os.utime(new, ns=(path.stat().st_mtime_ns,) * 2)
    new.replace(path)


def write_in_place(tree):
    path = tree.path("a.bin")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(tree.random_data()[:9])


def rewrite(tree):
    tree.path("sub/b.bin").write_bytes(tree.random_data())


def append(tree):
    with tree.path("a.bin").open("ab") as file:
        file.write(b"more")


def truncate(tree):
    os.truncate(tree.path("a.bin"), tree.choice(0, 1, 500, 999))


def make_unreadable(tree):
    tree.path(tree.choice("a.bin", "sub/b.bin")).chmod(0)


def delete(tree):
    tree.path(tree.choice("a.bin", "link.bin", "sub/b.bin")).unlink()


def add_sibling(tree):
    path = tree.path(tree.choice("a.bin", "sub/b.bin"))
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(tree.random_data(), 1))


def delete_siblings(tree):
    for path in tree.root.rglob("*.gz"):
        path.unlink()


def change_link(tree):
    link, other = tree.path("link.bin"), tree.path("other")
    other.symlink_to("sub/b.bin" if link.readlink() == Path("a.bin") else "a.bin")
    other.replace(link)


def rename_parent(tree):
    away = tree.path("away")
    if away.exists():
        away.rename(tree.path("before"))
        tree.path("sub").rename(away)
        tree.path("before").rename(tree.path("sub"))
    else:
        tree.path("sub").rename(away)


CHANGES = [
    rename_over,
    write_in_place,
    rewrite,
    append,
    truncate,
    make_unreadable,
    delete,
    add_sibling,
    delete_siblings,
    change_link,
    rename_parent,
]


@contextmanager
def reading(tree, **settings):
    with without_privileges():
        server = aserve.Server(tree.root, **settings)
        server.__enter__()
    try:
        host, port = server.url.removeprefix("http://").rstrip("/").split(":")
        reader = Reader(tree, host, int(port))
        with closing(reader.connection):
            yield reader
    finally:
        server.__exit__(None, None, None)


def change_and_check(tree, reader, rounds, *, repeat):
    """Let everything get cached, change something and check again, for each change."""
    for number in range(rounds):
        changes = CHANGES.copy()
        random.Random(number).shuffle(changes)
        for change in changes:
            tree.settle(aged=number % 3 != 1)
            for _ in range(repeat):
                reader.check()
            change(tree)
            reader.check(with_etags=True)
            reader.check()


@pytest.mark.parametrize("cache_size", CACHE_SIZES)
@pytest.mark.parametrize(
    ("size", "rounds"), [(1_000, 2), slow(1_000, 4), slow(100_000, 2), slow(1_000_000, 1)]
)
def test_the_next_response_is_what_is_on_disk(tmp_path, size, rounds, cache_size):
    tree = Tree(tmp_path / "site", size)
    tree.settle(aged=True)
    with reading(tree, response_cache=cache_size) as reader:
        change_and_check(tree, reader, rounds, repeat=5 if size == 1_000 else 2)


INOTIFY_LIMITS = {
    "no instance": (0, 0),
    "no watch": (1, 0),
    "a watch": (1, 1),
    "not enough for one file": (1, 4),
    "enough for some": (1, 10),
}


@pytest.mark.parametrize("size", slow_except([1_000, 100_000], 1_000))
@pytest.mark.parametrize("limits", slow_except(INOTIFY_LIMITS, "no watch", "enough for some"))
def test_the_same_when_inotify_is_used_up(tmp_path, monkeypatch, limits, size):
    monkeypatch.setattr(inotify, "libc", FakeLibc(*INOTIFY_LIMITS[limits]))
    tree = Tree(tmp_path / "site", size)
    tree.settle(aged=True)
    with reading(tree) as reader:
        change_and_check(tree, reader, 1, repeat=5 if size == 1_000 else 2)


# While a large response is in progress.


@pytest.fixture(scope="module")
def data():
    return random.Random(1).randbytes(HUGE)


@pytest.fixture
def tree(tmp_path, data):
    tree = Tree(tmp_path / "site", 1_000)
    tree.settle(aged=True)
    tree.path("a.bin").write_bytes(data)
    return tree


@pytest.fixture(params=CACHE_SIZES)
def reader(tree, request):
    with reading(tree, response_cache=request.param) as reader:
        yield reader


@contextmanager
def response_in_progress(reader):
    """Request the large file and read only the head of the response."""
    address = (reader.connection.host, reader.connection.port)
    with closing(HTTPConnection(*address, timeout=TIMEOUT)) as connection:
        connection.request("GET", "/a.bin")
        yield connection.getresponse()


@pytest.mark.parametrize(
    "change", [rename_over, append, make_unreadable, delete, change_link, rename_parent]
)
def test_a_response_in_progress_is_of_the_file_that_was_requested(tree, reader, data, change):
    with response_in_progress(reader) as response:
        change(tree)
        assert response.read() == data
    reader.check()


def test_a_response_whose_file_shrinks_ends_early(tree, reader, data, caplog):
    new_size = 1 << 20  # whole pages: the rest of a page is zeroed, even in the socket buffer
    with response_in_progress(reader) as response:
        os.truncate(tree.path("a.bin"), new_size)
        with pytest.raises((IncompleteRead, ConnectionResetError)) as exc_info:
            response.read()
        if exc_info.type is IncompleteRead:
            partial = exc_info.value.partial[:new_size]
            assert partial == data[: len(partial)]
    reader.check()
    assert "/a.bin: response truncated" in caplog.text


@pytest.mark.parametrize("length", [0, 1 << 20, HUGE, HUGE + (1 << 20)])
def test_a_response_whose_file_is_rewritten_is_complete_or_ends_early(tree, reader, length):
    with response_in_progress(reader) as response:
        block = os.urandom(1 << 16)  # gzip's window is smaller: it is sent as it is
        tree.path("a.bin").write_bytes(block * (length >> 16))
        with suppress(IncompleteRead, ConnectionResetError):
            assert len(response.read()) == HUGE
    reader.check()


def test_data_written_during_a_response_is_at_its_offset(tree, reader, data):
    with response_in_progress(reader) as response:
        with tree.path("a.bin").open("r+b") as file:
            file.write(bytes(HUGE - 1))
        body = response.read()
    assert len(body) == HUGE
    assert all(new in {0, old} for new, old in zip(body[::997], data[::997], strict=True))
    assert body[-1] == data[-1]
    reader.check()
