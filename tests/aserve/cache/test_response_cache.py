"""What is remembered is never older than the disk, and never more than it may be."""

import os
import random
import time

import pytest

from aserve.cache import response_cache
from aserve.cache.response_cache import CachedResponse, ResponseCache, cache_key
from aserve.filesystem import mounts
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http.dates import format_date
from aserve.http.messages import Request, encode_head

NOW = int(time.time())
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
OLD = NOW - 1_000


class Server:
    """A model without its loop: remembers, or answers and keeps."""

    def __init__(self, root):
        self.site = StaticSite(Directory(root))
        self.recall = ResponseCache(os.fsencode(root))
        self.hits = 0
        self.date = DATE

    def true_reply(self, request):
        response = self.site.handle(request, NOW)
        return response, encode_head(response, self.date, None) + b"".join(response.body)

    def reply(self, target, **fields):
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        head = f"GET {target} HTTP/1.1\r\n{sorted(fields.items())}\r\n\r\n"
        request = Request("GET", target, headers=fields, head=head)
        if known := self.recall.lookup_head(head.encode(), NOW):
            self.hits += 1
            return known[0].data
        key = cache_key(request, keep_alive=True)
        if kept := self.recall.lookup_key(key, request, NOW):
            self.hits += 1
            return kept.data
        response, octets = self.true_reply(request)
        if not self.recall.should_store(key, response):
            return octets
        since, trails = self.recall.generation(), self.recall.watch_dependencies(request, NOW)
        response, octets = self.true_reply(request)
        if trails:
            self.recall.store(CachedResponse(key, [octets], response, closes=False), trails, since)
        return octets

    def is_true(self, target, **fields):
        """Compare with the true path, the date aside."""
        said = self.reply(target, **fields)
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        _, true = self.true_reply(Request("GET", target, headers=fields))
        at = true.index(b"Date: ") + 6
        return said[:at] == true[:at] and said[at + 29 :] == true[at + 29 :]


def write(path, text):
    path.write_text(text)
    os.utime(path, (OLD, OLD))  # or it would be too young to be remembered


@pytest.fixture(params=["inotify", "stat"])
def server(request, tmp_path, monkeypatch):
    """Serve a folder behind a symbolic link, watched or asked for its state."""
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
    server.recall.close()


@pytest.fixture
def root(server, tmp_path):
    return tmp_path / "current"


TARGETS = ["/a.txt", "/sub/b.txt", "/sub/deep/c.txt", "/", "/link.txt"]


def warm(server):
    for _ in range(4):
        for target in TARGETS:
            server.reply(target)
            server.reply(target, accept_encoding="gzip")


def test_it_remembers(server):
    warm(server)
    hits = server.hits
    assert all(server.is_true(target) for target in TARGETS)
    assert server.hits == hits + len(TARGETS)


def rename_over(path):
    write(path.with_name("new"), str(random.random()))
    path.with_name("new").replace(path)


def write_in_place(path):
    with path.open("r+") as file:
        file.write(random.choice("xyz"))


def truncate(path):
    os.truncate(path, random.randrange(3))


def shut_and_open(path):
    path.chmod(0o600 if path.stat().st_mode & 0o77 else 0o644)


def delete_and_create(path):
    if path.exists():
        path.unlink()
    else:
        write(path, "again")


def sibling(path):
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


CHANGES = [rename_over, write_in_place, truncate, shut_and_open, delete_and_create, sibling]
RARE_CHANGES = [retarget, rename_parent, switch_release]


def test_ten_thousand_changes_and_no_stale_reply(server, root):
    random.seed(1)
    (root.parent / "outside").write_text("secret")
    warm(server)
    for _ in range(5_000):
        change = random.choice(CHANGES if random.random() < 0.95 else RARE_CHANGES)
        try:
            change(root / "a.txt")
        except FileNotFoundError:
            delete_and_create(root / "a.txt")
        for target in random.sample(TARGETS, 2):
            assert server.is_true(target), (change, target)
            assert server.is_true(target, accept_encoding="gzip"), (change, target)
    assert server.hits > 500  # or nothing was tried


@pytest.mark.parametrize(
    "change", [rename_over, write_in_place, truncate, delete_and_create, sibling]
)
def test_a_change_in_the_middle_of_the_work_is_not_remembered(server, root, change):
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n\r\n")
    key = cache_key(request, keep_alive=True)
    since = server.recall.generation()
    trails = server.recall.watch_dependencies(request, NOW)
    response, octets = server.true_reply(request)
    change(root / "a.txt")
    server.recall.store(CachedResponse(key, [octets], response, closes=False), trails, since)
    assert server.recall.lookup_key(key, request, NOW) is None


def test_two_alike_under_way_together_are_kept_once_and_stay_watched(server, root):
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n\r\n")
    key = cache_key(request, keep_alive=True)
    since = server.recall.generation()
    work = [
        (server.recall.watch_dependencies(request, NOW), *server.true_reply(request))
        for _ in range(3)
    ]
    for trails, response, octets in work:
        server.recall.store(CachedResponse(key, [octets], response, closes=False), trails, since)
    assert server.recall.lookup_key(key, request, NOW)
    write_in_place(root / "a.txt")
    assert server.recall.lookup_key(key, request, NOW) is None


def test_work_under_way_while_a_watch_is_given_up_is_not_remembered(server, root):
    warm(server)
    request = Request("GET", "/a.txt", headers={"range": "bytes=0-0"}, head="other\r\n\r\n")
    key = cache_key(request, keep_alive=True)
    since = server.recall.generation()
    trails = server.recall.watch_dependencies(request, NOW)
    response, octets = server.true_reply(request)
    server.recall._clear_and_rewatch()
    server.recall.store(CachedResponse(key, [octets], response, closes=False), trails, since)
    write_in_place(root / "a.txt")
    assert server.recall.lookup_key(key, request, NOW) is None


def test_what_was_just_written_is_not_remembered(server, root):
    (root / "a.txt").write_text("young")
    os.utime(root / "a.txt", (NOW, NOW))
    warm(server)
    hits = server.hits
    assert server.is_true("/a.txt")
    assert server.hits == hits


@pytest.mark.parametrize("early", [True, False])
def test_a_second_name_outside_the_folder_is_seen_through(server, root, tmp_path, early):
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
            assert server.is_true("/a.txt")
            warm(server)


def test_watches_are_given_back(server, root):
    def watches():
        number = server.recall._inotify._descriptor
        with open(f"/proc/self/fdinfo/{number}") as info:
            return info.read().count("inotify wd:")

    warm(server)
    before = watches()
    for number in range(50):
        write(root / "a.txt", str(number))
        rename_over(root / "a.txt")
        warm(server)
    server.recall._clear_and_rewatch()
    assert watches() == 0 < before


def test_what_is_not_known_to_be_local_is_not_remembered(server, root, monkeypatch):
    monkeypatch.setattr(
        mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.NONE
    )
    warm(server)
    assert server.hits == 0


def test_a_new_mount_forgets_everything(server, monkeypatch):
    warm(server)
    server.recall.tick()
    assert server.recall._by_key
    monkeypatch.setattr(mounts, "_mount_table", lambda: "another one")
    server.recall.tick()
    assert not server.recall._by_key


def test_the_date_is_right_to_the_second(server):
    warm(server)
    head = b"GET /a.txt HTTP/1.1\r\n[]\r\n\r\n"
    assert (
        b"\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        in server.recall.lookup_head(head, 784_111_777)[0].data
    )
    assert (
        b"\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n"
        in server.recall.lookup_head(head, 784_111_778)[0].data
    )


def test_errors_and_redirects_are_not_remembered(server):
    for _ in range(5):
        server.reply("/none")
        server.reply("/sub")
    assert server.hits == 0


def test_a_scan_is_not_let_in(server, root):
    for number in range(200):
        write(root / f"{number}.txt", "x")
        server.reply(f"/{number}.txt")
    assert not server.recall._by_key


def test_memory_is_bounded_and_what_is_used_stays(server, root, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_RESPONSES", 10)
    monkeypatch.setattr(response_cache, "_MAX_HEADS", 12)
    warm_target = "/a.txt"
    for number in range(60):
        write(root / f"{number}.txt", "x")
        for _ in range(4):
            server.reply(f"/{number}.txt")
            server.reply(warm_target)
    assert len(server.recall._by_key) <= 10
    assert len(server.recall._by_head) <= 12
    assert server.recall._total_weight == sum(
        kept.weight for kept in server.recall._by_key.values()
    ) + sum(
        response_cache._weigh_head(head, request)
        for head, (_, request) in server.recall._by_head.items()
    )
    hits = server.hits
    server.reply(warm_target)
    assert server.hits == hits + 1
    assert {kept for kepts in server.recall._by_dependency.values() for kept in kepts} <= set(
        server.recall._by_key.values()
    )


def test_an_overflow_forgets_everything(server, root):
    warm(server)
    with open("/proc/sys/fs/inotify/max_queued_events") as limit:
        most = int(limit.read())
    for number in range(most + 10):  # another name each time, since equal events are told once
        (root / f"n{number % 500}").touch()
    write(root / "a.txt", "changed")
    assert all(server.is_true(target) for target in TARGETS)


def test_without_inotify_it_asks_for_the_state(tmp_path, monkeypatch):
    def refuse(most):
        raise OSError("no inotify here")

    monkeypatch.setattr(response_cache, "Inotify", refuse)
    write(tmp_path / "a.txt", "alpha")
    server = Server(tmp_path)
    for _ in range(5):
        assert server.is_true("/a.txt")
    assert server.hits
    write(tmp_path / "a.txt", "omega")
    assert server.is_true("/a.txt")


def test_which_file_systems_tell_of_changes(tmp_path):
    table = mounts.Mounts()
    assert table.tracking_of(os.stat("/proc").st_dev) is mounts.ChangeTracking.NONE
    assert table.tracking_of(0) is mounts.ChangeTracking.NONE
    assert table.tracking_of(os.stat("/dev/shm").st_dev) is mounts.ChangeTracking.EVENTS


def test_what_was_remembered_before_the_clock_was_set_back_is_forgotten(server):
    server.date = format_date(NOW)
    request = Request("GET", "/a.txt", head="GET /a.txt HTTP/1.1\r\n[]\r\n\r\n")
    for _ in range(5):
        server.reply("/a.txt")
    head, key = request.head.encode(), cache_key(request, keep_alive=True)
    kept, _ = server.recall.lookup_head(head, NOW + 1)
    assert format_date(NOW + 1).encode() in kept.data
    assert server.recall.lookup_head(head, NOW) is not None  # as old as the reply itself
    assert server.recall.lookup_head(head, NOW - 1) is None
    assert server.recall.lookup_key(key, request, NOW) is None


def test_a_folder_that_is_named_like_a_sibling_stays_watched(server, root):
    """It is one inode with one watch, for the names in it and as what lies beside a file."""
    packed = root / "a.txt.gz"
    packed.mkdir()
    write(packed / "b.txt", "beta")
    write(packed / "c.txt", "gamma")
    (packed / "link.txt").symlink_to("b.txt")
    for target in ("/a.txt.gz/link.txt", "/a.txt"):
        for _ in range(4):
            server.reply(target)
    (packed / "next").symlink_to("c.txt")
    (packed / "next").replace(packed / "link.txt")
    assert server.is_true("/a.txt.gz/link.txt")


def learn(server, target, heads):
    """Ask for one thing in many ways that decide nothing."""
    server.reply(target)
    server.reply(target)
    for number in heads:
        request = Request("GET", target, head=f"GET {target} HTTP/1.1\r\nOdd: {number}\r\n\r\n")
        for _ in range(2):
            assert server.recall.lookup_key(cache_key(request, keep_alive=True), request, NOW)


def test_a_reply_has_so_many_heads_and_no_more(server, root, monkeypatch):
    monkeypatch.setattr(response_cache, "_MAX_HEADS_PER_RESPONSE", 10)
    learn(server, "/sub/b.txt", range(4))
    learn(server, "/a.txt", range(100))
    server.recall._process_changes()
    assert len(server.recall._by_head) == 14
    newest = b"GET /a.txt HTTP/1.1\r\nOdd: %d\r\n\r\n"
    assert server.recall.lookup_head(newest % 99, NOW)
    assert not server.recall.lookup_head(newest % 89, NOW)
    write(root / "a.txt", "other")
    assert not server.recall.lookup_head(newest % 99, NOW)
    assert len(server.recall._by_head) in {0, 4}  # the time of a folder was asked for, or was not


def test_heads_push_out_no_reply(server, monkeypatch):
    warm(server)
    monkeypatch.setattr(server.recall, "_max_bytes", 2 * server.recall._total_weight)
    replies = dict(server.recall._by_key)
    learn(server, "/a.txt", range(200))
    assert server.recall._by_key.keys() == replies.keys()
    assert server.recall._head_weight <= server.recall._max_bytes // 2 + 2_000
    assert server.recall._head_weight == sum(
        response_cache._weigh_head(head, request)
        for head, (_, request) in server.recall._by_head.items()
    )


@pytest.mark.parametrize("server", ["inotify"], indirect=True)
def test_one_look_forgets_so_much_one_by_one_and_no_more(server, root, monkeypatch):
    """Many files that change at once hold up the loop no longer than a few do."""
    monkeypatch.setattr(response_cache, "_MAX_EVICTED_SINGLY", 10)
    names = [f"{number}.txt" for number in range(12)]
    for name in names:
        write(root / name, "x")
        learn(server, f"/{name}", range(10))
    forgotten = []
    forget = server.recall._evict
    monkeypatch.setattr(
        server.recall, "_evict", lambda kept: (forgotten.append(kept), forget(kept))
    )
    for name in names[:5]:
        write(root / name, "other")
    server.recall._process_changes()  # five replies and fifty heads: ten
    assert len(forgotten) == 5
    for name in names[5:]:
        write(root / name, "other")
    server.recall._process_changes()
    assert len(forgotten) == 5
    assert not server.recall._by_key
    assert all(server.is_true(f"/{name}") for name in names)
