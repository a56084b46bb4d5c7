"""One policy of what is visible, through every door: the product of two tables."""

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from aserve.filesystem.visibility import ALWAYS_HIDDEN, Visibility
from tests.aserve.handlers.listing_site import ListedSite
from tests.aserve.policies.visibility_matrix import (
    DOORS,
    FILES,
    LINKS,
    POLICIES,
    ROWS,
    SECRET,
    make_site,
)
from tests.marks import slow_except


class UnchangedSite(ListedSite):
    """A site in which nothing changes: many paths are looked for in the answer to one request."""

    get = cache(ListedSite.get)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ListedSite]:
    root = make_site(tmp_path_factory.mktemp("matrix"))
    return {name: UnchangedSite(root, policy) for name, policy in POLICIES.items()}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("door", DOORS)
def test_every_door_shows_what_is_visible_and_nothing_else(
    sites: Mapping[str, ListedSite], door: str, policy: str
) -> None:
    shown = {row.path for row in ROWS if DOORS[door](sites[policy], row.path)}
    assert shown == {row.path for row in ROWS if policy in row.visible}


def test_every_file_and_link_is_in_the_table() -> None:
    asked = {row.path for row in ROWS} | {row.path.partition("/")[0] for row in ROWS}
    assert asked.issuperset({*FILES, *LINKS})


@pytest.mark.parametrize("glob", slow_except(ALWAYS_HIDDEN, *ALWAYS_HIDDEN[::5]))
def test_nothing_that_is_always_hidden_is_shown_by_anything(tmp_path: Path, glob: str) -> None:
    """Nor are its compressed siblings, what is in a directory of that name, or other cases."""
    name = glob.replace("*", "x")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).mkdir()
    (tmp_path / "below" / name / "file").write_bytes(SECRET)
    names = [name, name.upper(), *(name + suffix for suffix in (".gz", ".br", ".zst"))]
    for each in set(names):
        (tmp_path / each).write_bytes(SECRET)
    for dotfiles in (False, True):
        site = UnchangedSite(tmp_path, Visibility(dotfiles=dotfiles))
        for path in [*names, f"below/{name}/file"]:
            assert [door for door, shows in DOORS.items() if shows(site, path)] == []


@pytest.mark.usefixtures("nobody")
def test_what_may_not_be_read_is_named_and_not_sent() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("closed", "open"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(SECRET)
        (root / "unreadable").write_bytes(SECRET)
        (root / "unreadable").chmod(0)
        (root / "closed").chmod(0)
        site = ListedSite(root)
        listing = site.list("/").json["entries"]
        assert [(entry["name"], entry["size"]) for entry in listing] == [
            ("closed", None),
            ("open", None),
            ("unreadable", len(SECRET)),
        ]
        targets = ["/unreadable", "/closed/file", "/closed/", "/closed/?format=json"]
        for target in targets:
            answer = site.get(target)
            assert answer.status == 403
            assert SECRET not in answer.body
        assert site.list("/?deep=1").names == ["closed", "open", "open/file", "unreadable"]
        assert site.list("/?deep=1").json["complete"]
        (root / "closed").chmod(0o700)


def test_texts_that_are_hidden_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(SECRET)
    (tmp_path / "HEADER.md").symlink_to("x.key")
    (tmp_path / "x.key").write_bytes(SECRET)
    assert SECRET in ListedSite(tmp_path).get("/").body
    hiding = Visibility(["README.md"])
    assert SECRET not in ListedSite(tmp_path, hiding).get("/").body


def test_a_hidden_index_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(SECRET)
    site = ListedSite(tmp_path, Visibility(["index.html"]))
    assert site.list("/").names == []
    assert SECRET not in site.get("/").body


def test_a_link_that_is_replaced_is_judged_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"public")
    (tmp_path / "a.key").write_bytes(SECRET)
    (tmp_path / "link").symlink_to("a")
    site = ListedSite(tmp_path)
    assert site.get("/link").body == b"public"
    os.replace(*_new_link(tmp_path, "a.key"))
    assert site.get("/link").status == 404
    assert site.list("/").names == ["a"]


def _new_link(directory: Path, target: str) -> tuple[Path, Path]:
    (directory / "new").symlink_to(target)
    return directory / "new", directory / "link"
