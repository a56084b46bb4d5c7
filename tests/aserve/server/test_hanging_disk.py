"""The loop never waits for a disk: what hangs holds its own connection and no other.

All of it is a matter of order and none of time: others are answered while what hangs still hangs.
"""

import os
import select
from contextlib import ExitStack
from http.client import HTTPConnection
from itertools import count

import pytest

from tests.aserve.hanging import PATIENCE, mounted, serving

THREADS = 4
LARGE = b"".join(number.to_bytes(4, "big") for number in range(50_000))
"""200 KB, which are streamed; no aligned four octets repeat, so that a wrong offset shows."""
HUGE = LARGE * 8
OLD = 1_000_000_000

_numbers = count()


class Site:
    """A folder to serve with files that are near and files that hang when told to.

    far asks its file system anew for each name; lasting may believe for an hour what it was told,
    so that names resolve without a question and only opening and reading ask.
    """

    def __init__(self, folder):
        self.root, self.source = folder / "site", folder / "source"
        for made in (self.root / "far", self.root / "lasting", self.source):
            made.mkdir(parents=True)
        self.near("hot.txt", b"hot", OLD)
        self.near("hot.bin", LARGE, OLD)

    def near(self, name, octets, modified=None):
        """Make a near file; one that was just modified is too young to be remembered."""
        path = self.root / name
        path.write_bytes(octets)
        if modified:
            os.utime(path, (modified, modified))
        return f"/{name}", octets

    def hanging(self, octets=b""):
        """Return the name of a new file on the hanging file systems, and its octets."""
        name = f"{next(_numbers)}.txt"
        octets = octets or f"the content of {name}".encode()
        (self.source / name).write_bytes(octets)
        os.utime(self.source / name, (OLD, OLD))
        return name, octets


class Clients:
    """Connections to a server that end with the test."""

    def __init__(self, server, stack):
        self._server, self._stack = server, stack

    def connect(self):
        one = HTTPConnection(self._server.host, self._server.port, timeout=PATIENCE)
        self._stack.callback(one.close)
        one.connect()
        return one

    def ask(self, target, method="GET", **fields):
        """Ask on a new connection, and do not wait for an answer."""
        one = self.connect()
        one.request(method, target, headers=fields)
        return one

    def get(self, target, method="GET", **fields):
        return reply(self.ask(target, method, **fields))


def reply(connection):
    response = connection.getresponse()
    octets = response.read()
    return response.status, octets


def get(connection, target):
    connection.request("GET", target)
    return reply(connection)


def answered(connections, seconds=0):
    """Return those of the connections on which something has arrived."""
    sockets = select.select([one.sock for one in connections], [], [], seconds)[0]
    return [one for one in connections if one.sock in sockets]


class Others:
    """Those who must not notice anything, on a connection that stood before and on new ones."""

    def __init__(self, site, clients):
        self._clients = clients
        self._standing = clients.connect()
        self._known = [("/hot.txt", b"hot"), ("/hot.bin", LARGE)]
        for target, _ in self._known * 5:
            get(self._standing, target)
        number = next(_numbers)
        warm = [
            site.near(f"warm-{number}.txt", b"warm"),
            site.near(f"warm-{number}.bin", LARGE[::-1]),
        ]
        for target, _ in warm:  # once: not remembered, but now the kernel has them at hand
            get(self._standing, target)
        self._known += warm
        self._new = [
            site.near(f"new-{number}.txt", b"new"),
            site.near(f"new-{number}.bin", LARGE[::-1]),
        ]

    def are_served(self):
        self.are_served_from_memory()
        self._get(self._new)
        assert self._clients.get(f"/none-{next(_numbers)}")[0] == 404

    def are_served_from_memory(self):
        self._get(self._known)
        assert self._clients.get("/hot.txt", "HEAD") == (200, b"")
        assert self._clients.get("/hot.txt", **{"If-None-Match": "*"}) == (304, b"")
        assert self._clients.get("/hot.bin", Range="bytes=-4") == (206, LARGE[-4:])

    def _get(self, wanted):
        for target, octets in wanted:
            assert get(self._standing, target) == (200, octets)
            assert self._clients.get(target) == (200, octets)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("hanging"))


@pytest.fixture(scope="module")
def running(site):
    """One server and its file systems for all tests: what one leaves behind, the next one meets."""
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
    return Others(site, clients)


WAYS = [("far", operation) for operation in ("LOOKUP", "GETATTR", "OPEN", "READ", "FLUSH", None)]
WAYS += [("lasting", operation) for operation in ("OPEN", "READ", "FLUSH", None)]


@pytest.mark.parametrize(
    "way", [(*way, crowd) for way in WAYS for crowd in (1, THREADS - 1)], ids=str
)
def test_others_do_not_notice(site, disks, clients, others, way):
    disk, operation, crowd = way
    wanted = [site.hanging() for _ in range(crowd)]
    for name, _ in wanted:  # what is known of them already must tempt nobody
        for _ in range(4):
            clients.get(f"/{disk}/{name}", "HEAD" if operation == "READ" else "GET")
    disks[disk].settle()
    disks[disk].hold(operation)
    waiting = [clients.ask(f"/{disk}/{name}") for name, _ in wanted]
    for reached, _ in disks[disk].reached(crowd):
        assert operation in {None, reached}
    others.are_served()
    assert operation == "FLUSH" or not answered(waiting)  # closing may come behind the reply
    disks[disk].release()
    assert [reply(one) for one in waiting] == [(200, octets) for _, octets in wanted]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_nor_when_a_large_file_hangs(site, disks, clients, others, way):
    disk, operation = way
    name, octets = site.hanging(LARGE)
    for _ in range(4):  # so that its beginning is in memory and its end is not
        clients.get(f"/{disk}/{name}", Range="bytes=0-99999")
    disks[disk].settle()
    disks[disk].hold(operation)
    waiting = clients.ask(f"/{disk}/{name}")
    disks[disk].reached()
    others.are_served()
    disks[disk].release()
    assert reply(waiting) == (200, octets)


@pytest.mark.parametrize("disk", ["far", "lasting"])
def test_a_hang_in_the_middle_of_a_large_body(site, disks, clients, others, disk):
    name, octets = site.hanging(HUGE)
    disks[disk].hold("READ", beyond=len(octets) // 2)
    waiting = clients.ask(f"/{disk}/{name}")
    assert disks[disk].reached() == [("READ", name)]
    others.are_served()
    disks[disk].release()
    assert reply(waiting) == (200, octets)


def test_a_client_that_leaves_what_hangs(site, far, clients, others):
    name, octets = site.hanging(HUGE)
    far.hold("READ", beyond=len(octets) // 2)
    leaving = clients.ask(f"/far/{name}")
    far.reached()
    leaving.close()
    others.are_served()


def test_a_client_that_leaves_what_hangs_at_its_end(site, far, clients, others):
    name, octets = site.hanging(HUGE)
    far.hold("READ", beyond=len(octets) // 2)
    leaving = clients.ask(f"/far/{name}")
    far.reached()
    far.hold("FLUSH")  # the first thing that closing a file asks for
    leaving.close()
    assert far.reached() == [("FLUSH", name)]
    others.are_served()


def test_replies_without_the_content_of_what_hangs(site, far, clients, others):
    name, _ = site.hanging(LARGE)
    far.hold("FLUSH")
    waiting = [
        clients.ask(f"/far/{name}", "HEAD"),
        clients.ask(f"/far/{name}", **{"If-None-Match": "*"}),
        clients.ask(f"/far/{name}", Range="bytes=999999-"),
    ]
    far.reached(3)
    others.are_served()
    far.release()
    assert [reply(one)[0] for one in waiting] == [200, 304, 416]


LINKS = [(near, operation) for near in ("link", "sibling") for operation in ("LOOKUP", "OPEN")]


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_a_link_from_a_near_name_to_what_hangs(site, far, clients, others, link):
    near, operation = link
    name, octets = site.hanging()
    target = f"/{near}-{next(_numbers)}"
    if near == "sibling":
        site.near(target[1:], b"near", OLD)
    suffix = {"link": "", "sibling": ".gz"}[near]
    (site.root / f"{target[1:]}{suffix}").symlink_to(f"far/{name}")
    coded = {"Accept-Encoding": "gzip"}
    for _ in range(4):
        clients.get(target, "HEAD", **coded)
    far.settle()
    far.hold(operation)
    waiting = clients.ask(target, **coded)
    far.reached()
    others.are_served()
    assert not answered([waiting])
    far.release()
    assert reply(waiting) == (200, octets)


class Crowd:
    """One client more than a server of two threads and a queue of two has room for."""

    def __init__(self, site, far, clients):
        self._wanted = [site.hanging() for _ in range(5)]
        self._all = [clients.ask(f"/far/{name}") for name, _ in self._wanted[:2]]
        far.reached(2)
        # Of three more the queue has room for two: when one has its reply, the others are in it.
        self._all += [clients.ask(f"/far/{name}") for name, _ in self._wanted[2:]]
        (self.refused,) = answered(self._all, PATIENCE)

    def waits(self):
        """Tell whether all still wait, but the one that got its reply."""
        return not answered([one for one in self._all if one is not self.refused])

    def gets_what_it_wants(self):
        for one, (name, octets) in zip(self._all, self._wanted, strict=True):
            again = one is self.refused
            assert (get(one, f"/far/{name}") if again else reply(one)) == (200, octets)
        for one in self._all:
            assert get(one, "/hot.txt") == (200, b"hot")


@pytest.fixture
def small(site, far):
    """Run a server of two threads and a queue of two; yield its clients."""
    with serving(site.root, threads=2, queue=2) as server, ExitStack() as stack:
        stack.callback(far.release)  # before the server ends, whatever happens
        yield Clients(server, stack)


@pytest.mark.parametrize("operation", ["LOOKUP", "OPEN", "READ"])
def test_more_hang_than_threads_and_queue_hold(site, far, small, operation):
    for _ in range(4):
        small.get("/hot.txt")
    far.hold(operation)
    crowd = Crowd(site, far, small)
    for one in (crowd.refused, small.ask("/far/another")):
        response = one.getresponse()
        response.read()
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert small.get("/hot.txt") == (200, b"hot")
    assert get(crowd.refused, "/hot.txt") == (200, b"hot")
    assert crowd.waits()
    far.release()
    crowd.gets_what_it_wants()


@pytest.fixture
def nothing_waits(site):
    """Skip where the file system of the near files cannot read without waiting (RWF_NOWAIT)."""
    with open(site.root / "hot.txt", "rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError as error:
            pytest.skip_head(f"needs a folder for temporary files that can RWF_NOWAIT: {error}")


@pytest.mark.parametrize("operation", ["LOOKUP", "OPEN", "READ"])
def test_what_is_in_memory_needs_no_thread(site, far, small, nothing_waits, operation):
    others = Others(site, small)
    far.hold(operation)
    crowd = Crowd(site, far, small)
    assert reply(crowd.refused)[0] == 503
    others.are_served_from_memory()
    assert crowd.waits()
    far.release()
    crowd.gets_what_it_wants()


def test_nor_when_every_thread_is_in_the_middle_of_a_large_body(
    site, far, clients, others, nothing_waits
):
    files = [site.hanging(HUGE) for _ in range(THREADS)]
    far.hold("READ", beyond=len(HUGE) // 2)
    waiting = [clients.ask(f"/far/{name}") for name, _ in files]
    far.reached(THREADS)
    others.are_served_from_memory()
    far.release()
    assert [reply(one) for one in waiting] == [(200, octets) for _, octets in files]


def test_the_whole_site_hangs(site, tmp_path):
    good, slow = site.hanging(), site.hanging()
    with (
        mounted(site.source, tmp_path) as disk,
        serving(tmp_path, threads=3, queue=0) as server,
        ExitStack() as stack,
    ):
        stack.callback(disk.release)
        clients = Clients(server, stack)
        disk.hold("READ", slow[0])
        waiting = [clients.ask(f"/{slow[0]}")]
        disk.reached()
        assert clients.get(f"/{good[0]}") == (200, good[1])
        disk.hold()
        waiting += [clients.ask(f"/{good[0]}")]
        disk.reached()
        assert clients.get("/", "OPTIONS")[0] == 204
        assert clients.get("/.hidden")[0] == 404
        waiting += [clients.ask(f"/{good[0]}")]
        disk.reached()
        assert clients.get(f"/{good[0]}")[0] == 503
        assert clients.get("/", Expect="a miracle")[0] == 417
        assert not answered(waiting)
        disk.release()
        assert [reply(one)[1] for one in waiting] == [slow[1], good[1], good[1]]


def test_it_stops_although_the_disk_hangs(site, far):
    with serving(site.root, grace=0) as server, ExitStack() as stack:
        stack.callback(far.release)
        name, _ = site.hanging()
        far.hold("READ", name)
        Clients(server, stack).ask(f"/far/{name}")
        far.reached()
        assert server.stop() == (0, "")
