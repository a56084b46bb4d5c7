"""A cached response is valid only as long as no file is there that would be sent in its place."""

import os
from contextlib import contextmanager

import pytest

from aserve.config.settings import Settings
from aserve.filesystem import mounts
from aserve.server.site_factory import build_site
from tests.aserve.cache.test_response_cache import OLD, Server

FILES = ("page.html", "folder/index.html", "both.html", "both/index.html", "b.html", "c.html")
INDEX = ("a.html", "b.html", "c.html")


def write(path, text):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    os.utime(path, (OLD, OLD))  # or it would be too young to be cached


def add(name):
    return lambda root: write(root / name, f"new {name}")


def replace_directory(root):
    (root / "both").rename(root / "elsewhere")
    write(root / "both", "new both")


def point_link(root):
    write(root / "target", "new target")


def make_folder_in_two_steps(root):
    (root / "page").mkdir()
    write(root / "page" / "index.html", "new index")


def move_folder_in(root):
    folder = root.parent / "other"
    write(folder / "index.html", "new index")
    folder.rename(root / "page")


# A convention, a target, and what makes another file come first.
CASES = {
    "first index": ({"index": INDEX}, "/", add("a.html")),
    "second index is not needed": ({"index": ("c.html", "a.html", "b.html")}, "/", add("c.html")),
    "exact name": ({"urls": "github"}, "/page", add("page")),
    "file for directory": ({"urls": "github"}, "/both", replace_directory),
    "link to nothing": ({"urls": "github"}, "/linked", point_link),
    "page before index": ({"urls": "netlify"}, "/folder/", add("folder.html")),
    "index before page": ({"urls": "vercel"}, "/page/", add("page/index.html")),
    "directory, then index": ({"urls": "vercel"}, "/page/", make_folder_in_two_steps),
    "a whole directory": ({"urls": "vercel"}, "/page/", move_folder_in),
    "page before folder": ({"urls": "vercel"}, "/folder", add("folder.html")),
}


@contextmanager
def serving(root, settings):
    def make_site(path, directories):
        return build_site(Settings(path, **settings), mounts.Mounts(), directories)

    server = Server(root, make_site)
    try:
        yield server
    finally:
        server.cache.close()


@pytest.fixture(params=["inotify", "stat"])
def root(request, tmp_path, monkeypatch):
    if request.param == "stat":
        monkeypatch.setattr(
            mounts.Mounts, "tracking_of", lambda self, device: mounts.ChangeTracking.STATE
        )
    for name in FILES:
        write(tmp_path / "site" / name, name)
    write(tmp_path / "site" / "linked.html", "linked")
    (tmp_path / "site" / "linked").symlink_to("target")
    return tmp_path / "site"


def warm(server, target):
    """Ask until the response is cached; it is the same, cold and warm."""
    for _ in range(4):
        assert server.is_fresh(target)
    hits = server.hits
    assert server.is_fresh(target)
    assert server.hits == hits + 1


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_comes_first_is_seen_by_the_next_request(root, name):
    settings, target, change = CASES[name]
    with serving(root, settings) as server:
        warm(server, target)
        before = server.respond(target)
        change(root)
        assert server.respond(target) != before
        assert server.is_fresh(target)
        warm_again = [server.is_fresh(target) for _ in range(4)]
        assert all(warm_again)


def test_a_file_that_goes_away_again_is_seen_too(root):
    with serving(root, {"index": INDEX}) as server:
        for _ in range(3):
            warm(server, "/")
            add("a.html")(root)
            warm(server, "/")
            (root / "a.html").unlink()


def test_watches_for_absent_files_are_removed(root):
    with serving(root, {"urls": "vercel"}) as server:
        warm(server, "/page/")
        (root / "page.html").unlink()
        assert server.is_fresh("/page/")
        assert not server.cache._by_key
        assert not server.cache._dependencies._by_name
