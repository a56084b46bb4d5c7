"""The event loop never waits for a disk: a disk that hangs delays only its own connections.

The tests check order and not time: other clients are served while the disk still hangs.
"""

import os
import select
import struct
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import count

import pytest

from tests.aserve.hanging import TIMEOUT, mounted, serving

THREADS = 4
LARGE = struct.pack(">50000I", *range(50_000))
"""200 KB, which are streamed; no aligned four bytes repeat, so that a wrong offset shows."""
HUGE = LARGE * 8
OLD = 1_000_000_000

_numbers = count()


class Site:
    """A directory to serve, with local files and with files on file systems that can hang.

    far looks up each name again on its file system; the kernel may cache what it knows of lasting
    for an hour, so that lookups do not reach that file system and only opening and reading do.
    """

    def __init__(self, base):
        self.root, self.source = base / "site", base / "source"
        for directory in (self.root / "far", self.root / "lasting", self.source):
            directory.mkdir(parents=True)
        self.add_local("hot.txt", b"hot", OLD)
        self.add_local("hot.bin", LARGE, OLD)

    def add_local(self, name, data, modified=None):
        """Write a local file; without `modified` it is too young to be cached."""
        path = self.root / name
        path.write_bytes(data)
        if modified:
            os.utime(path, (modified, modified))
        return f"/{name}", data

    def add_hanging(self, data=b""):
        """Write a file on the hanging file systems; return its name and its data."""
        name = f"{next(_numbers)}.txt"
        data = data or f"the content of {name}".encode()
        (self.source / name).write_bytes(data)
        os.utime(self.source / name, (OLD, OLD))
        return name, data


class Clients:
    """Connections to a server, which are closed at the end of the test."""

    def __init__(self, server, stack):
        self._server, self._stack = server, stack

    def connect(self):
        connection = HTTPConnection(self._server.host, self._server.port, timeout=TIMEOUT)
        self._stack.callback(connection.close)
        connection.connect()
        return connection

    def send(self, target, method="GET", **headers):
        """Send a request on a new connection, and do not wait for the response."""
        connection = self.connect()
        connection.request(method, target, headers=headers)
        return connection

    def get(self, target, method="GET", **headers):
        return read_response(self.send(target, method, **headers))


def read_response(connection):
    response = connection.getresponse()
    body = response.read()
    return response.status, body


def get(connection, target):
    connection.request("GET", target)
    return read_response(connection)


def with_response(connections, timeout_s=0):
    """Return the connections on which a response has arrived."""
    sockets = select.select([connection.sock for connection in connections], [], [], timeout_s)[0]
    return [connection for connection in connections if connection.sock in sockets]


class OtherClients:
    """Clients that must not be delayed, on a connection opened before and on new ones."""

    def __init__(self, site, clients):
        self._clients = clients
        self._connection = clients.connect()
        self._cached = [("/hot.txt", b"hot"), ("/hot.bin", LARGE)]
        for target, _ in self._cached * 5:
            get(self._connection, target)
        number = next(_numbers)
        warm = [
            site.add_local(f"warm-{number}.txt", b"warm"),
            site.add_local(f"warm-{number}.bin", LARGE[::-1]),
        ]
        for target, _ in warm:  # once: not cached, but now in the kernel's page cache
            get(self._connection, target)
        self._cached += warm
        self._new = [
            site.add_local(f"new-{number}.txt", b"new"),
            site.add_local(f"new-{number}.bin", LARGE[::-1]),
        ]

    def check_served(self):
        self.check_served_from_memory()
        self._get(self._new)
        assert self._clients.get(f"/none-{next(_numbers)}")[0] == 404

    def check_served_from_memory(self):
        self._get(self._cached)
        assert self._clients.get("/hot.txt", "HEAD") == (200, b"")
        assert self._clients.get("/hot.txt", **{"If-None-Match": "*"}) == (304, b"")
        assert self._clients.get("/hot.bin", Range="bytes=-4") == (206, LARGE[-4:])

    def _get(self, files):
        for target, data in files:
            assert get(self._connection, target) == (200, data)
            assert self._clients.get(target) == (200, data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("hanging"))


@pytest.fixture(scope="module")
def running(site):
    """One server with its file systems for all tests, so that each test meets what others left."""
    with (
        mounted(site.source, site.root / "far") as far,
        mounted(site.source, site.root / "lasting", 3_600) as lasting,
        serving(site.root, threads=THREADS) as server,
    ):
        try:
            yield {"far": far, "lasting": lasting}, server
            assert server.stop() == (0, "")
        finally:
            far.release()
            lasting.release()


@pytest.fixture
def disks(running):
    disks, _ = running
    yield disks
    for disk in disks.values():
        disk.release()


@pytest.fixture
def far(disks):
    return disks["far"]


@pytest.fixture
def clients(running):
    with ExitStack() as stack:
        yield Clients(running[1], stack)


@pytest.fixture
def others(site, clients):
    return OtherClients(site, clients)


CASES = [("far", operation) for operation in ("LOOKUP", "GETATTR", "OPEN", "READ", "FLUSH", None)]
CASES += [("lasting", operation) for operation in ("OPEN", "READ", "FLUSH", None)]


@pytest.mark.parametrize(
    "case", [(*case, count) for case in CASES for count in (1, THREADS - 1)], ids=str
)
def test_other_clients_are_not_delayed(site, disks, clients, others, case):
    disk, operation, count = case
    files = [site.add_hanging() for _ in range(count)]
    for name, _ in files:  # what the kernel and the cache know of them must not mislead
        for _ in range(4):
            clients.get(f"/{disk}/{name}", "HEAD" if operation == "READ" else "GET")
    disks[disk].settle()
    disks[disk].hold(operation)
    waiting = [clients.send(f"/{disk}/{name}") for name, _ in files]
    for reached, _ in disks[disk].reached(count):
        assert operation in {None, reached}
    others.check_served()
    assert operation == "FLUSH" or not with_response(
        waiting
    )  # the file may be closed after the response
    disks[disk].release()
    assert [read_response(one) for one in waiting] == [(200, data) for _, data in files]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_clients_are_not_delayed_by_a_large_file(site, disks, clients, others, case):
    disk, operation = case
    name, data = site.add_hanging(LARGE)
    for _ in range(4):  # so that its start is in memory and its end is not
        clients.get(f"/{disk}/{name}", Range="bytes=0-99999")
    disks[disk].settle()
    disks[disk].hold(operation)
    waiting = clients.send(f"/{disk}/{name}")
    disks[disk].reached()
    others.check_served()
    disks[disk].release()
    assert read_response(waiting) == (200, data)


@pytest.mark.parametrize("disk", ["far", "lasting"])
def test_a_hang_in_the_middle_of_a_large_body(site, disks, clients, others, disk):
    name, data = site.add_hanging(HUGE)
    disks[disk].hold("READ", beyond=len(data) // 2)
    waiting = clients.send(f"/{disk}/{name}")
    assert disks[disk].reached() == [("READ", name)]
    others.check_served()
    disks[disk].release()
    assert read_response(waiting) == (200, data)


def test_a_client_that_leaves_during_a_hang(site, far, clients, others):
    name, data = site.add_hanging(HUGE)
    far.hold("READ", beyond=len(data) // 2)
    leaving = clients.send(f"/far/{name}")
    far.reached()
    leaving.close()
    others.check_served()


def test_a_client_that_leaves_and_a_close_that_hangs(site, far, clients, others):
    name, data = site.add_hanging(HUGE)
    far.hold("READ", beyond=len(data) // 2)
    leaving = clients.send(f"/far/{name}")
    far.reached()
    far.hold("FLUSH")  # the first operation of closing a file
    leaving.close()
    assert far.reached() == [("FLUSH", name)]
    others.check_served()


def test_responses_without_a_body_while_closing_hangs(site, far, clients, others):
    name, _ = site.add_hanging(LARGE)
    far.hold("FLUSH")
    waiting = [
        clients.send(f"/far/{name}", "HEAD"),
        clients.send(f"/far/{name}", **{"If-None-Match": "*"}),
        clients.send(f"/far/{name}", Range="bytes=999999-"),
    ]
    far.reached(3)
    others.check_served()
    far.release()
    assert [read_response(one)[0] for one in waiting] == [200, 304, 416]


LINKS = [(kind, operation) for kind in ("link", "sibling") for operation in ("LOOKUP", "OPEN")]


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_a_local_link_to_a_file_that_hangs(site, far, clients, others, link):
    kind, operation = link
    name, data = site.add_hanging()
    target = f"/{kind}-{next(_numbers)}"
    if kind == "sibling":
        site.add_local(target[1:], b"local", OLD)
    suffix = {"link": "", "sibling": ".gz"}[kind]
    (site.root / f"{target[1:]}{suffix}").symlink_to(f"far/{name}")
    headers = {"Accept-Encoding": "gzip"}
    for _ in range(4):
        clients.get(target, "HEAD", **headers)
    far.settle()
    far.hold(operation)
    waiting = clients.send(target, **headers)
    far.reached()
    others.check_served()
    assert not with_response([waiting])
    far.release()
    assert read_response(waiting) == (200, data)


class FullServer:
    """Five clients of a server with two threads and a queue of two: one of them is rejected."""

    def __init__(self, site, far, clients):
        self._files = [site.add_hanging() for _ in range(5)]
        self._all = [clients.send(f"/far/{name}") for name, _ in self._files[:2]]
        far.reached(2)
        # The queue has room for two of three more: when one has its response, the others wait.
        self._all += [clients.send(f"/far/{name}") for name, _ in self._files[2:]]
        (self.rejected,) = with_response(self._all, TIMEOUT)

    def is_waiting(self):
        """Tell whether all clients but the rejected one still wait."""
        return not with_response([one for one in self._all if one is not self.rejected])

    def check_served(self):
        for one, (name, data) in zip(self._all, self._files, strict=True):
            retry = one is self.rejected
            assert (get(one, f"/far/{name}") if retry else read_response(one)) == (200, data)
        for one in self._all:
            assert get(one, "/hot.txt") == (200, b"hot")


@pytest.fixture
def small(site, far):
    """Run a server with two threads and a queue of two; yield its clients."""
    with serving(site.root, threads=2, queue=2) as server, ExitStack() as stack:
        stack.callback(far.release)  # before the server stops, in any case
        yield Clients(server, stack)


@pytest.mark.parametrize("operation", ["LOOKUP", "OPEN", "READ"])
def test_more_requests_than_threads_and_queue_hold(site, far, small, operation):
    for _ in range(4):
        small.get("/hot.txt")
    far.hold(operation)
    full = FullServer(site, far, small)
    for one in (full.rejected, small.send("/far/another")):
        response = one.getresponse()
        response.read()
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert small.get("/hot.txt") == (200, b"hot")
    assert get(full.rejected, "/hot.txt") == (200, b"hot")
    assert full.is_waiting()
    far.release()
    full.check_served()


@pytest.fixture
def needs_nowait(site):
    """Skip where the file system of the local files cannot read without blocking (RWF_NOWAIT)."""
    with open(site.root / "hot.txt", "rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError as error:
            pytest.skip(f"needs a directory for temporary files with RWF_NOWAIT: {error}")


@pytest.mark.alone  # where another test mounts something, names have to be looked up again
@pytest.mark.parametrize("operation", ["LOOKUP", "OPEN", "READ"])
def test_files_in_memory_need_no_thread(site, far, small, needs_nowait, operation):
    others = OtherClients(site, small)
    far.hold(operation)
    full = FullServer(site, far, small)
    assert read_response(full.rejected)[0] == 503
    others.check_served_from_memory()
    assert full.is_waiting()
    far.release()
    full.check_served()


@pytest.mark.alone  # where another test mounts something, names have to be looked up again
def test_nor_when_every_thread_sends_a_large_body(site, far, clients, others, needs_nowait):
    files = [site.add_hanging(HUGE) for _ in range(THREADS)]
    far.hold("READ", beyond=len(HUGE) // 2)
    waiting = [clients.send(f"/far/{name}") for name, _ in files]
    far.reached(THREADS)
    others.check_served_from_memory()
    far.release()
    assert [read_response(one) for one in waiting] == [(200, data) for _, data in files]


def test_the_whole_site_hangs(site, tmp_path):
    good, slow = site.add_hanging(), site.add_hanging()
    with (
        mounted(site.source, tmp_path) as disk,
        # Looked for by all at once, a file of rules reaches the disk once.
        serving(tmp_path, threads=3, queue=0, rules="off") as server,
        ExitStack() as stack,
    ):
        stack.callback(disk.release)
        clients = Clients(server, stack)
        disk.hold("READ", slow[0])
        waiting = [clients.send(f"/{slow[0]}")]
        disk.reached()
        assert clients.get(f"/{good[0]}") == (200, good[1])
        disk.hold()
        waiting += [clients.send(f"/{good[0]}")]
        disk.reached()
        assert clients.get("/", "OPTIONS")[0] == 204
        assert clients.get("/.hidden")[0] == 404
        waiting += [clients.send(f"/{good[0]}")]
        disk.reached()
        assert clients.get(f"/{good[0]}")[0] == 503
        assert clients.get("/", Expect="a miracle")[0] == 417
        assert not with_response(waiting)
        disk.release()
        assert [read_response(one)[1] for one in waiting] == [slow[1], good[1], good[1]]


def test_it_stops_while_the_disk_hangs(site, far):
    with serving(site.root, grace=0) as server, ExitStack() as stack:
        stack.callback(far.release)
        name, _ = site.add_hanging()
        far.hold("READ", name)
        Clients(server, stack).send(f"/far/{name}")
        far.reached()
        assert server.stop() == (0, "")
