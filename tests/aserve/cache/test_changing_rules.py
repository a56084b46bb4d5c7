"""The rules of a site count as they are now, for cached responses too, however the files change."""

import os
import random

import pytest

from aserve.config.settings import Settings
from aserve.filesystem import mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request
from aserve.server.site_factory import build_site
from tests.aserve.cache.test_response_cache import OLD, Server
from tests.marks import slow_except

TARGETS = ["/a.txt", "/old", "/sub/b.txt", "/rewritten", "/sub/none"]

REDIRECTS = ["/old /new 302", "/old /newer 301", "/a.txt /b 302!", "/rewritten /a.txt 200", "/x /y"]
HEADERS = [
    "/*\n X-A: 1",
    "/a.txt\n X-A: 2",
    "/sub/*\n X-B: 3",
    "bad",
    "/*\n Cache-Control: private",
]


def write(path, text, *, is_old=True):
    path.write_text(text)
    if is_old:
        os.utime(path, (OLD, OLD))  # or what it decides would be too young to be cached


def site_of(root, directories):
    found = directories.monitor.mounts if directories else mounts.Mounts()
    return build_site(Settings(root), found, directories)


@pytest.fixture(params=["inotify", "stat"])
def server(request, tmp_path, monkeypatch):
    """Serve a directory behind a symbolic link, with changes noticed by inotify or by stat."""
    if request.param == "stat":
        monkeypatch.setattr(
            mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.STATE
        )
    for number in ("1", "2"):
        release = tmp_path / "releases" / number
        (release / "sub").mkdir(parents=True)
        write(release / "a.txt", f"alpha {number}")
        write(release / "sub" / "b.txt", "beta")
    (tmp_path / "current").symlink_to("releases/1")
    server = Server(tmp_path / "current", site_of)
    yield server
    server.cache.close()


@pytest.fixture
def root(server, tmp_path):
    return tmp_path / "current"


def warm(server):
    for _ in range(4):
        for target in TARGETS:
            server.respond(target)


def write_rules(root):
    name, lines = random.choice([("_redirects", REDIRECTS), ("_headers", HEADERS)])
    chosen = random.sample(lines, random.randrange(len(lines)))
    write(root / name, "\n".join(chosen), is_old=random.random() < 0.7)


def replace_rules(root):
    name, lines = random.choice([("_redirects", REDIRECTS), ("_headers", HEADERS)])
    write(root / "new", random.choice(lines))
    (root / "new").replace(root / name)


def remove_rules(root):
    (root / random.choice(["_redirects", "_headers"])).unlink(missing_ok=True)


def link_rules(root):
    write(root.parent / "shared", random.choice(REDIRECTS))
    (root / "_redirects").unlink(missing_ok=True)
    (root / "_redirects").symlink_to(root.parent / "shared")


def write_through_link(root):
    write(root.parent / "shared", random.choice(REDIRECTS), is_old=False)


def switch_release(root):
    other = "2" if os.readlink(root).endswith("1") else "1"
    (root.parent / "next").symlink_to(f"releases/{other}")
    (root.parent / "next").replace(root)


def write_file(root):
    write(root / "a.txt", str(random.random()))


CHANGES = [
    *(write_rules, write_rules, replace_rules, remove_rules, link_rules, write_through_link),
    *(switch_release, write_file),
]


@pytest.mark.parametrize("seed", slow_except(range(20), 0))
def test_no_response_is_older_than_the_rules(server, root, seed):
    random.seed(seed)
    for _ in range(15):
        warm(server)
        change = random.choice(CHANGES)
        change(root)
        stale = [target for target in TARGETS if not server.is_fresh(target)]
        assert not stale, change


def test_responses_under_rules_are_cached(server, root):
    write(root / "_redirects", "/rewritten /a.txt 200\n/a.txt /x\n")
    write(root / "_headers", "/*\n X-A: 1\n")
    warm(server)
    hits = server.hits
    cached = ["/a.txt", "/sub/b.txt", "/rewritten"]
    assert all(b"\r\nX-A: 1\r\n" in server.respond(target) for target in cached)
    assert server.hits == hits + len(cached)


def test_rules_that_are_young_are_read_again_and_nothing_is_cached(server, root):
    """Two changes in one tick of the clock can leave the same size and time."""
    write(root / "_headers", "/*\n X-A: 1\n", is_old=False)
    warm(server)
    assert server.hits == 0
    status = (root / "_headers").stat()
    with open(root / "_headers", "r+", encoding="ascii") as file:
        file.write("/*\n X-A: 2\n")
    os.utime(root / "_headers", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert b"\r\nX-A: 2\r\n" in server.respond("/a.txt")


@pytest.mark.parametrize("name", ["_redirects", "_headers"])
def test_what_cannot_be_read_is_no_rule(server, root, name):
    os.mkfifo(root / name)
    assert server.respond("/a.txt").endswith(b"alpha 1")


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PROPFIND", "BREW"])
def test_a_change_counts_for_every_method(tmp_path, method):
    site = site_of(tmp_path, None)
    for value in ("1", "2"):
        write(tmp_path / "_headers", f"/*\n X-A: {value * int(value)}")
        response = site.handle(Request(method, "/"), RequestContext(OLD + 100))
        assert dict(response.headers)["X-A"] == value * int(value)
