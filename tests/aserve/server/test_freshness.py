"""A reply is what the disk holds when it is asked for, over real sockets and whatever its size."""

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
from tests.aserve.hanging import PATIENCE

OLD = 1_000_000_000
ASKED = [("a.bin", "identity"), ("a.bin", "gzip"), ("link.bin", "identity"), ("sub/b.bin", "gzip")]
CACHE_SIZES = [pytest.param(64 << 20, id="cached"), pytest.param(0, id="uncached")]
HUGE = 12 << 20
"""Far more than the sockets of one connection hold: its reply is under way until it is read."""


@contextmanager
def without_privileges():
    """Take from this thread, and from those it starts, what lets root read every file."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)  # version 3 of capset(2), this thread
    kept = (ctypes.c_uint32 * 6)()  # twice effective, permitted, inheritable
    assert libc.capget(header, kept) == 0
    assert libc.capset(header, (ctypes.c_uint32 * 6)(0, *kept[1:3], 0, *kept[4:])) == 0
    try:
        yield
    finally:
        assert libc.capset(header, kept) == 0


class Libc:
    """The C library of a system with few inotify instances or few watches."""

    def __init__(self, instances, watches):
        self._true = ctypes.CDLL(None, use_errno=True)
        self._instances, self._watches = instances, watches
        self._known = set()

    def inotify_init1(self, flags):
        if not self._instances:
            return _failed(errno.EMFILE)
        self._instances -= 1
        return self._true.inotify_init1(flags)

    def inotify_add_watch(self, descriptor, path, mask):
        number = self._true.inotify_add_watch(descriptor, path, mask)
        if number < 0 or number in self._known:
            return number
        if len(self._known) < self._watches:
            self._known.add(number)
            return number
        self._true.inotify_rm_watch(descriptor, number)
        return _failed(errno.ENOSPC)

    def inotify_rm_watch(self, descriptor, number):
        self._known.discard(number)
        return self._true.inotify_rm_watch(descriptor, number)


def _failed(number):
    ctypes.set_errno(number)
    return -1


class Tree:
    """A folder whose files change, and what is to be said of them."""

    def __init__(self, root, size):
        self.root, self._size = root, size
        self._random = random.Random(size)
        self._age = OLD

    def path(self, target):
        return self.root / target

    def octets(self):
        return self._random.randbytes(self._size)

    def choice(self, *options):
        return self._random.choice(options)

    def settle(self, *, aged):
        """Restore what is missing. aged: make all so old that it may be remembered."""
        sub, link = self.path("sub"), self.path("link.bin")
        sub.mkdir(exist_ok=True, parents=True)
        for path in (self.path("a.bin"), sub / "b.bin"):
            if not path.exists() or path.stat().st_size != self._size:
                path.write_bytes(self.octets())
            path.chmod(0o644)
        if not link.is_symlink():
            link.symlink_to("a.bin")
        self._age += 1  # each time another, or only the change time would tell
        for path in self.root.rglob("*.bin*") if aged else ():
            os.utime(path, (self._age, self._age))

    def truth(self, target, coding):
        """Return status, coding and content as the disk has them now, and what tells them apart."""
        path = self.path(target)
        if not path.exists():
            return 404, None, None, None
        status = path.stat()
        if not status.st_mode & 0o400:
            return 403, None, None, None
        packed = path.with_name(path.name + ".gz")
        if coding == "gzip" and packed.exists():
            oldest = int(status.st_mtime) - 1  # an older one is of what the file was
            path = packed if packed.stat().st_mtime >= oldest else path
        coding = "gzip" if path is packed else None
        status = path.stat()
        state = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
        return 200, coding, path.read_bytes(), state


class Reader:
    """A client that holds each reply against the disk."""

    def __init__(self, tree, host, port):
        self._tree = tree
        self.connection = HTTPConnection(host, port, timeout=PATIENCE)
        self._tags = {}  # (target, coding): state, entity tag

    def get(self, target, **fields):
        self.connection.request("GET", f"/{target}", headers=fields)
        response = self.connection.getresponse()
        return response, response.read()

    def look(self, *, closely=False):
        """Ask for everything; raises AssertionError where a reply is not what is on the disk.

        closely: also with the entity tags, those of before included.
        """
        for target, coding in ASKED:
            self._look_at(target, coding, closely)

    def _look_at(self, target, coding, closely):
        fields = {"Accept-Encoding": coding}
        response, octets = self.get(target, **fields)
        status, used, content, state = self._tree.truth(target, coding)
        assert (response.status, response.headers["Content-Encoding"]) == (status, used), target
        if status != 200:
            return
        assert octets == content, target
        tag = response.headers["ETag"]
        before, known = self._tags.get((target, coding), (state, tag))
        assert (tag == known) == (state == before), target
        self._tags[target, coding] = state, tag
        for one in {known, tag} if closely else ():
            again, octets = self.get(target, **fields, **{"If-None-Match": one})
            expected = (304, b"") if one == tag else (200, content)
            assert (again.status, octets) == expected, target
            assert again.headers["ETag"] == tag


def rename_over(tree):
    """Same length, same age: only the inode and its change time tell."""
    path, new = tree.path("a.bin"), tree.path("new")
    new.write_bytes(tree.octets())
    os.utime(new, ns=(path.stat().st_mtime_ns,) * 2)
    new.replace(path)


def write_in_place(tree):
    path = tree.path("a.bin")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(tree.octets()[:9])


def write_anew(tree):
    tree.path("sub/b.bin").write_bytes(tree.octets())


def append(tree):
    with tree.path("a.bin").open("ab") as file:
        file.write(b"more")


def truncate(tree):
    os.truncate(tree.path("a.bin"), tree.choice(0, 1, 500, 999))


def shut(tree):
    tree.path(tree.choice("a.bin", "sub/b.bin")).chmod(0)


def delete(tree):
    tree.path(tree.choice("a.bin", "link.bin", "sub/b.bin")).unlink()


def add_sibling(tree):
    path = tree.path(tree.choice("a.bin", "sub/b.bin"))
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(tree.octets(), 1))


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
    write_anew,
    append,
    truncate,
    shut,
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


def change_and_look(tree, reader, rounds, *, looks):
    """Let everything become known, change something and look again, over and over."""
    for number in range(rounds):
        changes = CHANGES.copy()
        random.Random(number).shuffle(changes)
        for change in changes:
            tree.settle(aged=number % 3 != 1)
            for _ in range(looks):
                reader.look()
            change(tree)
            reader.look(closely=True)
            reader.look()


@pytest.mark.parametrize("cache_size", CACHE_SIZES)
@pytest.mark.parametrize(("size", "rounds"), [(1_000, 4), (100_000, 2), (1_000_000, 1)])
def test_the_next_reply_is_what_is_on_the_disk(tmp_path, size, rounds, cache_size):
    tree = Tree(tmp_path / "site", size)
    tree.settle(aged=True)
    with reading(tree, response_cache=cache_size) as reader:
        change_and_look(tree, reader, rounds, looks=5 if size == 1_000 else 2)


FEW = {
    "no instance": (0, 0),
    "no watch": (1, 0),
    "a watch": (1, 1),
    "not enough for one file": (1, 4),
    "enough for some": (1, 10),
}


@pytest.mark.parametrize("size", [1_000, 100_000])
@pytest.mark.parametrize("few", FEW)
def test_it_is_so_too_where_inotify_is_used_up(tmp_path, monkeypatch, few, size):
    monkeypatch.setattr(inotify, "libc", Libc(*FEW[few]))
    tree = Tree(tmp_path / "site", size)
    tree.settle(aged=True)
    with reading(tree) as reader:
        change_and_look(tree, reader, 1, looks=5 if size == 1_000 else 2)


# While a large reply is under way.


@pytest.fixture(scope="module")
def octets():
    return random.Random(1).randbytes(HUGE)


@pytest.fixture
def tree(tmp_path, octets):
    tree = Tree(tmp_path / "site", 1_000)
    tree.settle(aged=True)
    tree.path("a.bin").write_bytes(octets)
    return tree


@pytest.fixture(params=CACHE_SIZES)
def reader(tree, request):
    with reading(tree, response_cache=request.param) as reader:
        yield reader


@contextmanager
def under_way(reader):
    """Ask for the large file and read no further than its head."""
    where = (reader.connection.host, reader.connection.port)
    with closing(HTTPConnection(*where, timeout=PATIENCE)) as connection:
        connection.request("GET", "/a.bin")
        yield connection.getresponse()


@pytest.mark.parametrize("change", [rename_over, append, shut, delete, change_link, rename_parent])
def test_a_reply_under_way_is_of_the_file_that_was_asked_for(tree, reader, octets, change):
    with under_way(reader) as response:
        change(tree)
        assert response.read() == octets
    reader.look()


def test_a_reply_whose_file_shrinks_ends_early(tree, reader, octets, caplog):
    most = 1 << 20  # whole pages: what is cut off a page is zeroed, in the socket's buffer too
    with under_way(reader) as response:
        os.truncate(tree.path("a.bin"), most)
        with pytest.raises((IncompleteRead, ConnectionResetError)) as ended:
            response.read()
        if ended.type is IncompleteRead:
            partial = ended.value.partial[:most]
            assert partial == octets[: len(partial)]
    reader.look()
    assert "/a.bin: response truncated" in caplog.text


@pytest.mark.parametrize("length", [0, 1 << 20, HUGE, HUGE + (1 << 20)])
def test_a_reply_whose_file_is_written_anew_is_whole_or_ends_early(tree, reader, length):
    with under_way(reader) as response:
        tree.path("a.bin").write_bytes(bytes(length))
        with suppress(IncompleteRead, ConnectionResetError):
            assert len(response.read()) == HUGE
    reader.look()


def test_what_is_written_into_a_file_on_its_way_has_its_place(tree, reader, octets):
    with under_way(reader) as response:
        with tree.path("a.bin").open("r+b") as file:
            file.write(bytes(HUGE - 1))
        content = response.read()
    assert len(content) == HUGE
    assert all(new in {0, old} for new, old in zip(content[::997], octets[::997], strict=True))
    assert content[-1] == octets[-1]
    reader.look()
