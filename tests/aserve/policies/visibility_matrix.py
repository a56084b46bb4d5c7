"""What is hidden, and every door that it could be seen through: a table of each.

A new way to see files is one more entry of DOORS.
"""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from aserve.access.rights import AccessRules, Rights
from aserve.access.shared_view import SharedView
from aserve.filesystem.visibility import Symlinks, Visibility
from tests.aserve.handlers.listing_site import ListedSite

SECRET = b"SECRET"
"""What each file of the site consists of, hidden or not."""

HIDE = ("private", "*.bak", "drafts/*", "img/**/raw", "out-dir/raw")
ALL, ANN = Rights(frozenset({"anyone"}), frozenset()), Rights(frozenset({"ann"}), frozenset())
RULES = AccessRules([("/sub/*", ANN), ("*.png", ANN)], ALL)
POLICIES: Mapping[str, Visibility] = {
    "default": Visibility(HIDE),
    "dotfiles": Visibility(HIDE, dotfiles=True),
    "all links": Visibility(HIDE, symlinks=Symlinks.ALL),
    "no links": Visibility(HIDE, symlinks=Symlinks.NONE),
    "without login": Visibility(HIDE).without(RULES.view_of(None).is_unreadable),
    "with login": Visibility(HIDE).without(RULES.view_of("ann").is_unreadable),
    # To all of the site; below it, what has readers of its own stays closed.
    "by a link": Visibility(HIDE).without(SharedView((b"",), RULES).is_unreadable),
}

FILES = (
    *("plain.txt", "sub/plain.txt", ".well-known/plain.txt", "img/a/b.png"),
    *(".profile", "sub/.profile", ".cache/file", ".well-known/.profile"),
    *("server.key", "sub/cert.PEM", ".env", ".env.local", ".git/config", "sub/.git/config"),
    *("_headers", "aserve.toml", "notes.txt~", "Thumbs.db", "id_rsa"),
    *("server.key.gz", "server.key.br", "aserve.toml.zst", "old.bak.gz"),
    *("private/file", "sub/private/file", "private.txt", "old.bak", "sub/OLD.BAK"),
    *("drafts/plan.txt", "sub/drafts/plan.txt", "img/raw/x.png", "img/a/raw/x.png"),
)
LINKS = {
    "inside.txt": "plain.txt",
    "inside-dir": "sub",
    "absolute.txt": "{root}/plain.txt",
    "out.txt": "../outside.txt",
    "out-dir": "../outside",
    "out-key": "../outside/server.key",
    "out-bak": "../outside/old.bak",
    "out-private": "../outside/private",
    "out-profile": "../outside/.profile",
    "magic": "/proc/self/cwd",
    "loop": "loop",
    "loop-one": "loop-two",
    "loop-two": "loop-one",
    "dangling": "nothing",
    "to-key": "server.key",
    "to-git": ".git",
    "to-private": "private/file",
    "private-link": "private",
    "to-profile": ".profile",
}
OUTSIDE = (
    *("plain.txt", "server.key", ".profile", ".cache/file", "private/file", "sub/old.bak"),
    *("old.bak", "drafts/plan.txt", "raw/x.png"),
)
"""Files in a directory beside the root."""
OUTSIDE_LINKS = {
    "back-to-private": "{root}/private",
    "to-bak": "old.bak",
    "to-key": "server.key",
}
"""Links in that directory."""


class Row(NamedTuple):
    """A path, and the policies by which it is visible."""

    path: str
    visible: frozenset[str] = frozenset()


def _rows(paths: str, *visible: str) -> list[Row]:
    return [Row(path, frozenset(visible)) for path in paths.split()]


WITHOUT_LOGIN = ("without login", "by a link")
FOR_ANN = [name for name in POLICIES if name not in WITHOUT_LOGIN]
FOLLOWED = ("default", "dotfiles", "all links", "with login")
ROWS = [
    *_rows("plain.txt .well-known/plain.txt private.txt", *POLICIES),
    *_rows("sub/plain.txt img/a/b.png sub/drafts/plan.txt", *FOR_ANN),
    *_rows(".profile sub/.profile .cache/file .well-known/.profile", "dotfiles"),
    *_rows("server.key sub/cert.PEM .env .env.local .git/config sub/.git/config"),
    *_rows("_headers aserve.toml notes.txt~ Thumbs.db id_rsa"),
    *_rows("server.key.gz server.key.br aserve.toml.zst old.bak.gz"),
    *_rows("private/file sub/private/file old.bak sub/OLD.BAK"),
    *_rows("drafts/plan.txt img/raw/x.png img/a/raw/x.png"),
    *_rows("inside.txt absolute.txt", *FOLLOWED, *WITHOUT_LOGIN),
    *_rows("inside-dir/plain.txt", *FOLLOWED),
    *_rows("to-profile", *FOLLOWED, *WITHOUT_LOGIN),  # a link publishes a dotfile
    *_rows("out.txt out-dir/plain.txt", "all links"),
    *_rows("out-key out-dir/server.key out-dir/to-key out-dir/back-to-private/file"),
    # What lies outside has no path in the site: a glob hides it by the names it is asked for with.
    *_rows("out-dir/.profile out-dir/.cache/file out-dir/private/file out-dir/sub/old.bak"),
    *_rows("out-dir/old.bak out-dir/raw/x.png"),
    *_rows("out-bak out-private/file out-profile out-dir/to-bak", "all links"),
    *_rows("out-dir/drafts/plan.txt", "all links"),
    *_rows("magic/plain.txt"),
    *_rows("loop loop-one loop-two dangling nothing sub/nothing"),
    *_rows("to-key to-git/config to-private private-link/file"),
]

Door = Callable[[ListedSite, str], bool]
"""Tells whether a site shows a path. Raises AssertionError for an answer that is neither."""


def _by_request(method: str, **headers: str) -> Door:
    def door(site: ListedSite, path: str) -> bool:
        answer = site.get(f"/{quote(path)}", method, **headers)
        assert answer.status in {200, 304, 404}
        assert (SECRET in answer.body) <= (answer.status == 200)
        assert answer.status == 404 or "ETag" in answer.headers
        return answer.status != 404

    return door


def _by_listing(form: str) -> Door:
    def door(site: ListedSite, path: str) -> bool:
        directory, slash, name = path.rpartition("/")
        answer = site.get(f"/{quote(directory)}{slash}?format={form}")
        assert answer.status in {200, 404}
        return answer.status == 200 and _is_named(answer.body, form, name)

    return door


def _is_named(body: bytes, form: str, name: str) -> bool:
    markers = {
        "html": f'href="{quote(name)}"',
        "json": f'"name": "{name}"',
        "ndjson": f'"name": "{name}"',
        "text": f"  {name}\n",
    }
    return markers[form].encode() in body


def _by_search(site: ListedSite, path: str) -> bool:
    directory, slash, name = path.rpartition("/")
    answer = site.list(f"/{quote(directory)}{slash}?q={quote(name)}")
    return answer.status == 200 and name in answer.names


def _by_deep_search(site: ListedSite, path: str) -> bool:
    return path in site.list(f"/?deep=1&q={quote(path.rpartition('/')[2])}").names


def _by_walk(site: ListedSite, path: str) -> bool:
    return path in site.list("/?deep=1").names


def _by_archive(site: ListedSite, path: str) -> bool:
    """Ask for all that is beneath the root, and for one archive of the directory alone."""
    directory, slash, name = path.rpartition("/")
    answer = site.get(f"/{quote(directory)}{slash}?archive=zip")
    assert answer.status in {200, 404}
    is_alone = answer.status == 200 and _is_archived(answer.body, name)
    assert is_alone == _is_archived(site.get("/?archive=zip").body, path)
    return is_alone


def _is_archived(archive: bytes, path: str) -> bool:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        folder = opened.namelist()[0]
        is_there = folder + path in opened.namelist()
        return is_there and opened.read(folder + path) == SECRET


def _by_selection(site: ListedSite, path: str) -> bool:
    directory, slash, name = path.rpartition("/")
    answer = site.get(f"/{quote(directory)}{slash}?archive=tar&name={quote(name)}")
    assert answer.status in {200, 404}
    assert (SECRET in answer.body) == (answer.status == 200)
    return answer.status == 200


def _by_propfind(site: ListedSite, path: str) -> bool:
    """Ask for the path itself, and for what is in its directory."""
    directory, slash, _ = path.rpartition("/")
    answer = site.get(f"/{quote(path)}", "PROPFIND", depth="0")
    assert answer.status in {207, 404}
    is_there = answer.status == 207
    listed = [href.rstrip("/") for href in site.members(f"/{quote(directory)}{slash}")]
    assert is_there == (f"/{quote(path)}" in listed)
    return is_there


DOORS: dict[str, Door] = {
    "GET": _by_request("GET"),
    "HEAD": _by_request("HEAD"),
    "If-None-Match": _by_request("GET", if_none_match="*"),
    "Range": _by_request("GET", if_range='"x"', range="bytes=0-1"),
    "compressed": _by_request("GET", accept_encoding="gzip, br, zstd"),
    **{form: _by_listing(form) for form in ("html", "json", "ndjson", "text")},
    "search": _by_search,
    "deep search": _by_deep_search,
    "deep listing": _by_walk,
    "archive": _by_archive,
    "archive of a selection": _by_selection,
    "PROPFIND": _by_propfind,
}


def make_site(parent: Path) -> Path:
    """Make the site of the table, and what its links lead to; return its root."""
    root = parent / "root"
    outside = [parent / "outside.txt", *(parent / "outside" / name for name in OUTSIDE)]
    for file in [*(root / name for name in FILES), *outside]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET)
    for directory, links in ((root, LINKS), (parent / "outside", OUTSIDE_LINKS)):
        for link, target in links.items():
            (directory / link).symlink_to(target.format(root=os.fspath(root)))
    return root
