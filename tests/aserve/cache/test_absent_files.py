"""A cached response is valid only as long as no file is there that would be sent in its place."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aserve.config.settings import Settings
from aserve.filesystem import mounts
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.server.site_factory import build_site
from tests.aserve.cache.test_response_cache import OLD, Server
from tests.marks import slow_except

FILES = ("page.html", "folder/index.html", "both.html", "both/index.html", "b.html", "c.html")
INDEX = ("a.html", "b.html", "c.html")


_number = count()


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


def test_a_redirect_that_becomes_possible_is_seen_too(root):
    with serving(root, {"urls": "vercel"}) as server:
        for _ in range(4):
            assert b" 200 OK" in server.respond("/both/index.html")  # /both is both.html
        (root / "both.html").unlink()
        assert b"Location: /both\r\n" in server.respond("/both/index.html")


TOGGLED = ("x", "x.html", "x.html.html", "x/index.html", "x/a.html", "index.html", "a.html")
TARGETS = ("/", "/x", "/x/", "/x.html", "/x.html.html", "/x/index.html", "/x/a", "/a.html", "/a/")


def toggle(root, name):
    """Add a file, with whatever has to go for it, or remove it."""
    path = root / name
    if path.is_file():
        path.unlink()
        return
    for place in (path.parent, path):
        if place.is_file():
            place.unlink()
    if path.is_dir():
        shutil.rmtree(path)
    write(path, f"{name} {next(_number)}")


@pytest.mark.parametrize("urls", slow_except(["plain", *CONVENTIONS], "plain", "vercel"))
@given(st.lists(st.sampled_from(TOGGLED), min_size=1, max_size=8))
@hypothesis_settings(max_examples=8)
def test_whatever_comes_and_goes_responses_are_fresh(urls, names):
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with serving(root, {"urls": urls, "index": ("a.html", "index.html")}) as server:
            for name in names:
                toggle(root, name)
                assert [one for one in TARGETS * 4 if not server.is_fresh(one)] == []


def test_watches_for_absent_files_are_removed(root):
    with serving(root, {"urls": "vercel"}) as server:
        warm(server, "/page/")
        (root / "page.html").unlink()
        assert server.is_fresh("/page/")
        assert not server.cache._by_key
        assert not server.cache._dependencies._by_name
