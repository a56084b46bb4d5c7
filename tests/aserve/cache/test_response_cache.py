"""Cached responses are never older than the files, and never more than they may be."""

import os
import random
import time

import pytest

from aserve.cache import cached_response, response_cache
from aserve.cache.cached_response import CachedResponse
from aserve.cache.response_cache import ResponseCache
from aserve.filesystem import monitor, mounts
from aserve.filesystem.directory import Directory
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.handlers.handler import RequestContext
from aserve.http.dates import format_date
from aserve.http.messages import Request
from aserve.http1.head_encoder import encode_head
from aserve.policies.site import Site
from tests.marks import slow_except

NOW = int(time.time())
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
OLD = NOW - 1_000


def read_at_once(job, on_done):
    """Run a job at once, instead of in a thread."""
    on_done(job())
    return True


def site_of(root, directories):
    return Site.of_files(Directory(root, directories=directories))


class Server:
    """A server without its event loop: responds from the cache, or makes and caches a response."""

    def __init__(self, root, make_site=site_of):
        self.cache = ResponseCache()
        self.directories = WatchedDirectories(self.cache.monitor)
        self.directories.start(read_at_once)
        self.site = make_site(root, self.directories)
        self.true_site = make_site(root, None)
        self.hits = 0
        self.date = DATE

    def response_of(self, request):
        return self.site.handle(request, RequestContext(NOW))

    def tick(self):
        self.cache.monitor.tick()
        self.directories.roots.close_unused()
        self.cache.tick()

    def handle(self, request):
        """Make a response as the event loop does: without waiting, if the kernel can."""
        try:
            response = self.site.handle(request, RequestContext(NOW, may_wait=False))
        except BlockingIOError:
            response = self.site.handle(request, RequestContext(NOW))
        return self._encode(response)

    def _encode(self, response):
        return response, encode_head(response, self.date, None) + b"".join(response.body)

    def respond(self, target, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"GET {target} HTTP/1.1\r\n{sorted(headers.items())}\r\n\r\n"
        request = Request("GET", target, headers=headers, head=head)
        if hit := self.cache.lookup_head(head.encode(), NOW):
            self.hits += 1
            return hit[0].data
        key = self.cache.keys.key(request, keep_alive=True)
        if cached := self.cache.lookup_key(key, request, NOW):
            self.hits += 1
            return cached.data
        response, data = self.handle(request)
        if not self.cache.should_store(key, response):
            return data
        generation = self.cache.monitor.generation()
        dependencies = self.cache.watch_dependencies(self.response_of(request), NOW)
        response, data = self.handle(request)
        if dependencies:
            self.cache.store(
                CachedResponse(key, [data], response, closes=False), dependencies, generation
            )
        return data

    def is_fresh(self, target, **headers):
        """Tell whether the response is, except for its date, the one that the handler makes now."""
        actual = self.respond(target, **headers)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request("GET", target, headers=headers)
        _, expected = self._encode(self.true_site.handle(request, RequestContext(NOW)))
        at = expected.index(b"Date: ") + 6
        return actual[:at] == expected[:at] and actual[at + 29 :] == expected[at + 29 :]


def write(path, text):
    path.write_text(text)
    os.utime(path, (OLD, OLD))  # or it would be too young to be cached


@pytest.fixture(params=["inotify", "stat"])
def server(request, tmp_path, monkeypatch):
    """Serve a directory behind a symbolic link, with changes noticed by inotify or by stat."""
    if request.param == "stat":
        monkeypatch.setattr(
            mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.STATE
        )
    release = tmp_path / "releases" / "1"
    (release / "sub" / "deep").mkdir(parents=True)
    write(release / "a.txt", "alpha")
    write(release / "sub" / "b.txt", "beta")
    write(release / "sub" / "deep" / "c.txt", "gamma")
    write(release / "index.html", "home")
    (release / "link.txt").symlink_to("a.txt")
    (tmp_path / "current").symlink_to("releases/1")
    server = Server(tmp_path / "current")
    yield server
    server.cache.close()


@pytest.fixture
def root(server, tmp_path):
    return tmp_path / "current"


TARGETS = ["/a.txt", "/sub/b.txt", "/sub/deep/c.txt", "/", "/link.txt"]


def warm(server):
    for _ in range(4):
        for target in TARGETS:
            server.respond(target)
            server.respond(target, accept_encoding="gzip")


def test_responses_are_cached(server):
    warm(server)
    hits = server.hits
    assert all(server.is_fresh(target) for target in TARGETS)
    assert server.hits == hits + len(TARGETS)


def rename_over(path):
    write(path.with_name("new"), str(random.random()))
    path.with_name("new").replace(path)


def write_in_place(path):
    with path.open("r+") as file:
        file.write(random.choice("xyz"))


def truncate(path):
    os.truncate(path, random.randrange(3))


def change_permissions(path):
    path.chmod(0o600 if path.stat().st_mode & 0o77 else 0o644)


def delete_and_create(path):
    if path.exists():
        path.unlink()
    else:
        write(path, "again")


def change_sibling(path):
    packed = path.with_name(path.name + ".gz")
    if packed.exists():
        packed.unlink()
    else:
        write(packed, "packed" + str(random.random()))


def retarget(path):
    link = path.with_name("link.txt")
    link.unlink()
    inside = ["a.txt", "sub/b.txt", f"{path.parent}//sub/../a.txt", "../../current/sub/b.txt"]
    link.symlink_to(random.choice([*inside, "../../outside", "nowhere"]))


def rename_parent(path):
    sub = path.parent / "sub"
    away = path.parent / "away"
    if sub.exists() and away.exists():
        return
    (sub if sub.exists() else away).rename(away if sub.exists() else sub)


def switch_release(path):
    current = path.parent
    releases = current.parent / "releases"
    number = len(list(releases.iterdir())) + 1
    if number > 20:
        return
    (releases / str(number)).mkdir()
    write(releases / str(number) / "a.txt", f"release {number}")
    write(releases / str(number) / "index.html", f"home {number}")
    current.with_name("next").symlink_to(f"releases/{number}")
    current.with_name("next").replace(current)


CHANGES = [
    rename_over,
    write_in_place,
    truncate,
    change_permissions,
    delete_and_create,
    change_sibling,
]
RARE_CHANGES = [retarget, rename_parent, switch_release]


@pytest.mark.parametrize("changes", slow_except([500, 5_000], 500))
def test_many_changes_and_no_stale_response(server, root, changes):
    random.seed(1)
    (root.parent / "outside").write_text("secret")
    warm(server)
    for _ in range(changes):
        change = random.choice(CHANGES if random.random() < 0.95 else RARE_CHANGES)
        try:
            change(root / "a.txt")
        except FileNotFoundError:
            delete_and_create(root / "a.txt")
        for target in random.sample(TARGETS, 2):
            assert server.is_fresh(target), (change, target)
            assert server.is_fresh(target, accept_encoding="gzip"), (change, target)
    assert server.hits > changes / 10  # or the cache was not tested


@pytest.mark.parametrize(
    "change", [rename_over, write_in_place, truncate, delete_and_create, change_sibling]
)
def test_a_response_is_not_cached_when_its_file_changes_meanwhile(server, root, change):
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n\r\n")
    key = server.cache.keys.key(request, keep_alive=True)
    generation = server.cache.monitor.generation()
    dependencies = server.cache.watch_dependencies(server.response_of(request), NOW)
    response, data = server.handle(request)
    change(root / "a.txt")
    server.cache.store(
        CachedResponse(key, [data], response, closes=False), dependencies, generation
    )
    assert server.cache.lookup_key(key, request, NOW) is None


def test_equal_responses_made_at_once_are_cached_once_and_stay_watched(server, root):
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n\r\n")
    key = server.cache.keys.key(request, keep_alive=True)
    generation = server.cache.monitor.generation()
    responses = [
        (server.cache.watch_dependencies(server.response_of(request), NOW), *server.handle(request))
        for _ in range(3)
    ]
    for dependencies, response, data in responses:
        server.cache.store(
            CachedResponse(key, [data], response, closes=False), dependencies, generation
        )
    assert server.cache.lookup_key(key, request, NOW)
    write_in_place(root / "a.txt")
    assert server.cache.lookup_key(key, request, NOW) is None


def test_a_response_is_not_cached_when_its_watch_is_removed_meanwhile(server, root):
    warm(server)
    request = Request("GET", "/a.txt", headers={"range": "bytes=0-0"}, head="other\r\n\r\n")
    key = server.cache.keys.key(request, keep_alive=True)
    generation = server.cache.monitor.generation()
    dependencies = server.cache.watch_dependencies(server.response_of(request), NOW)
    response, data = server.handle(request)
    server.cache.monitor.reset()
    server.cache.store(
        CachedResponse(key, [data], response, closes=False), dependencies, generation
    )
    write_in_place(root / "a.txt")
    assert server.cache.lookup_key(key, request, NOW) is None


def test_a_reset_forgets_every_head_at_once(server, monkeypatch):
    # However long the thread takes that takes the old tables apart.
    monkeypatch.setattr("aserve.cache.disposal._dispose", lambda *_tables: None)
    warm(server)
    head = b"GET /a.txt HTTP/1.1\r\n[]\r\n\r\n"
    assert server.cache.lookup_head(head, NOW)
    server.cache.monitor.reset()
    assert server.cache.lookup_head(head, NOW) is None


def test_a_file_that_was_just_written_is_not_cached(server, root):
    (root / "a.txt").write_text("young")
    os.utime(root / "a.txt", (NOW, NOW))
    warm(server)
    hits = server.hits
    assert server.is_fresh("/a.txt")
    assert server.hits == hits


@pytest.mark.parametrize("early", [True, False])
def test_changes_through_a_hard_link_outside_are_noticed(server, root, tmp_path, early):
    if early:
        os.link(root / "a.txt", tmp_path / "elsewhere")
    warm(server)
    if not early:
        os.link(root / "a.txt", tmp_path / "elsewhere")
        warm(server)
    with open(tmp_path / "elsewhere", "r+") as file:
        for text in ("x", "y", "z"):
            file.write(text)
            file.flush()
            assert server.is_fresh("/a.txt")
            warm(server)


def test_watches_are_removed(server, root):
    def watches():
        descriptor = server.cache.monitor.inotify._descriptor
        with open(f"/proc/self/fdinfo/{descriptor}") as info:
            return info.read().count("inotify wd:")

    warm(server)
    before = watches()
    for number in range(50):
        write(root / "a.txt", str(number))
        rename_over(root / "a.txt")
        warm(server)
    server.cache.monitor.reset()
    assert watches() == 0 < before


def test_files_not_known_to_be_local_are_not_cached(server, root, monkeypatch):
    monkeypatch.setattr(
        mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.NONE
    )
    warm(server)
    assert server.hits == 0


def test_a_new_mount_evicts_everything(server, monkeypatch):
    warm(server)
    server.tick()
    assert server.cache._by_key
    monkeypatch.setattr(mounts, "_mount_table", lambda: "another one")
    server.tick()
    assert not server.cache._by_key


def test_the_date_is_right_to_the_second(server):
    warm(server)
    head = b"GET /a.txt HTTP/1.1\r\n[]\r\n\r\n"
    assert (
        b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        in server.cache.lookup_head(head, 784_111_777)[0].data
    )
    assert (
        b"\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
        in server.cache.lookup_head(head, 784_111_778)[0].data
    )


def test_errors_and_redirects_are_not_cached(server):
    for _ in range(5):
        server.respond("/none")
        server.respond("/sub")
    assert server.hits == 0


def test_a_scan_is_not_cached(server, root):
    for number in range(200):
        write(root / f"{number}.txt", "x")
        server.respond(f"/{number}.txt")
    assert not server.cache._by_key


def test_memory_is_bounded_and_used_responses_stay(server, root, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_RESPONSES", 10)
    monkeypatch.setattr(response_cache, "_MAX_HEADS", 12)
    warm_target = "/a.txt"
    for number in range(60):
        write(root / f"{number}.txt", "x")
        for _ in range(4):
            server.respond(f"/{number}.txt")
            server.respond(warm_target)
    assert len(server.cache._by_key) <= 10
    assert len(server.cache._by_head) <= 12
    assert server.cache._total_weight == sum(
        cached.weight for cached in server.cache._by_key.values()
    ) + sum(
        cached_response.weigh_head(head, request)
        for head, (_, request) in server.cache._by_head.items()
    )
    hits = server.hits
    server.respond(warm_target)
    assert server.hits == hits + 1
    dependents = set().union(*server.cache._dependencies._by_name.values())
    assert dependents <= set(server.cache._by_key.values())


def test_an_overflow_evicts_everything(server, root):
    warm(server)
    with open("/proc/sys/fs/inotify/max_queued_events") as limit:
        max_events = int(limit.read())
    for number in range(max_events + 10):  # varying names, since equal events are merged
        (root / f"n{number % 500}").touch()
    write(root / "a.txt", "changed")
    assert all(server.is_fresh(target) for target in TARGETS)


def test_without_inotify_changes_are_noticed_by_stat(tmp_path, monkeypatch):
    def fail(max_watches):
        raise OSError("no inotify here")

    monkeypatch.setattr(monitor, "Inotify", fail)
    write(tmp_path / "a.txt", "alpha")
    server = Server(tmp_path)
    for _ in range(5):
        assert server.is_fresh("/a.txt")
    assert server.hits
    write(tmp_path / "a.txt", "omega")
    assert server.is_fresh("/a.txt")


def test_which_file_systems_report_changes(tmp_path):
    table = mounts.Mounts()
    assert table.tracking_of(os.stat("/proc").st_dev) is mounts.ChangeTracking.NONE
    assert table.tracking_of(0) is mounts.ChangeTracking.NONE
    assert table.tracking_of(os.stat("/dev/shm").st_dev) is mounts.ChangeTracking.EVENTS


def test_a_response_cached_before_the_clock_was_set_back_is_evicted(server):
    server.date = format_date(NOW)
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n[]\r\n\r\n")
    for _ in range(5):
        server.respond("/a.txt")
    head, key = request.head.encode(), server.cache.keys.key(request, keep_alive=True)
    cached, _ = server.cache.lookup_head(head, NOW + 1)
    assert format_date(NOW + 1).encode() in cached.data
    assert server.cache.lookup_head(head, NOW) is not None  # as old as the response itself
    assert server.cache.lookup_head(head, NOW - 1) is None
    assert server.cache.lookup_key(key, request, NOW) is None


def test_a_directory_that_is_named_like_a_sibling_stays_watched(server, root):
    """It is one inode with one watch, for the names in it and as the sibling of a file."""
    packed = root / "a.txt.gz"
    packed.mkdir()
    write(packed / "b.txt", "beta")
    write(packed / "c.txt", "gamma")
    (packed / "link.txt").symlink_to("b.txt")
    for target in ("/a.txt.gz/link.txt", "/a.txt"):
        for _ in range(4):
            server.respond(target)
    (packed / "next").symlink_to("c.txt")
    (packed / "next").replace(packed / "link.txt")
    assert server.is_fresh("/a.txt.gz/link.txt")


def add_heads(server, target, numbers):
    """Request one target with many heads that get the same response."""
    server.respond(target)
    server.respond(target)
    for number in numbers:
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\nOdd: {number}\r\n\r\n")
        for _ in range(2):
            assert server.cache.lookup_key(
                server.cache.keys.key(request, keep_alive=True), request, NOW
            )


def test_the_heads_of_a_response_are_bounded(server, root, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_HEADS_PER_RESPONSE", 10)
    add_heads(server, "/sub/b.txt", range(4))
    add_heads(server, "/a.txt", range(100))
    server.cache.monitor.process_changes()
    assert len(server.cache._by_head) == 14
    newest = b"GET /a.txt HTTP/1.1\r\nOdd: %d\r\n\r\n"
    assert server.cache.lookup_head(newest % 99, NOW)
    assert not server.cache.lookup_head(newest % 89, NOW)
    write(root / "a.txt", "other")
    assert not server.cache.lookup_head(newest % 99, NOW)
    assert len(server.cache._by_head) in {0, 4}  # by stat the directory's time counts, too


def test_heads_evict_no_response(server, monkeypatch):
    warm(server)
    monkeypatch.setattr(server.cache, "_max_bytes", 2 * server.cache._total_weight)
    responses = dict(server.cache._by_key)
    add_heads(server, "/a.txt", range(200))
    assert server.cache._by_key.keys() == responses.keys()
    assert server.cache._head_weight <= server.cache._max_bytes // 2 + 2_000
    assert server.cache._head_weight == sum(
        cached_response.weigh_head(head, request)
        for head, (_, request) in server.cache._by_head.items()
    )


@pytest.mark.parametrize("server", ["inotify"], indirect=True)
def test_many_changes_at_once_evict_everything_at_once(server, root, monkeypatch):
    """Many files that change at once block the event loop no longer than a few do."""
    monkeypatch.setattr(response_cache, "_MAX_EVICTED_SINGLY", 10)
    names = [f"{number}.txt" for number in range(12)]
    for name in names:
        write(root / name, "x")
        add_heads(server, f"/{name}", range(10))
    evicted = []
    evict = server.cache._evict
    monkeypatch.setattr(
        server.cache, "_evict", lambda cached: (evicted.append(cached), evict(cached))
    )
    for name in names[:5]:
        write(root / name, "other")
    server.cache.monitor.process_changes()  # five responses and fifty heads: ten
    assert len(evicted) == 5
    for name in names[5:]:
        write(root / name, "other")
    server.cache.monitor.process_changes()
    assert len(evicted) == 5
    assert not server.cache._by_key
    assert all(server.is_fresh(f"/{name}") for name in names)
