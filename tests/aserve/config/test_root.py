"""What a server serves: a directory, a file, or several by their names."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

import aserve
from aserve.config.root import Root, as_root, check_root, describe_root, home_name


def checked(root: object) -> Root:
    return check_root(as_root(root))


def test_a_directory_is_the_root(directory: Path) -> None:
    assert checked(str(directory)) == checked({"/": directory}) == checked({"": directory})
    assert checked(directory) == directory
    assert (describe_root(directory), home_name(directory)) == (str(directory), "")


def test_a_file_is_served_under_its_own_name(directory: Path, monkeypatch) -> None:
    monkeypatch.chdir(directory)
    root = checked("a.txt")
    assert root == {"a.txt": directory / "a.txt"}
    assert (describe_root(root), home_name(root)) == (str(directory / "a.txt"), "a.txt")
    assert home_name(checked({"b/c.txt": "a.txt"})) == "b/c.txt"


def test_names_lose_the_slashes_around_them(directory: Path) -> None:
    sub = directory / "sub"
    root = checked({"/": str(directory), "/docs/": sub, "a/b": directory / "a.txt"})
    assert root == {"": directory, "docs": sub, "a/b": directory / "a.txt"}
    assert (describe_root(root), home_name(root)) == (f"{directory} and 2 more", "")
    assert describe_root(checked({"x": sub, "y": sub})) == f"{sub} and 1 more"
    assert home_name(checked({"x": sub})) == ""


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({}, "must name at least one directory"),
        ({"a": None}, "must be the path of a directory, not None"),
        ({1: "sub"}, "a name must be a string, not 1"),
        ({"a": "sub", "/a/": "sub"}, "/a is named twice"),
        ({"a//b": "sub"}, "'a//b' cannot be a name in a URL"),
        ({"a/../b": "sub"}, "'a/../b' cannot be a name in a URL"),
        ({".": "sub"}, "'.' cannot be a name in a URL"),
        ({"a\0": "sub"}, "'a\\x00' cannot be a name in a URL"),
        ({"\ud800": "sub"}, "'\\ud800' cannot be a name in a URL"),
        ({"": "a.txt", "b": "sub"}, "/: 'a.txt' is not a directory; a file needs a name"),
        ({"b": "sub", "c": "none"}, "/c: there is no directory or file 'none'"),
        ({"b": "a.txt", "b/c/d": "sub"}, "nothing can be at /b/c/d: /b is a file"),
        ("/dev/null", "'/dev/null' is neither a directory nor a regular file"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    directory: Path, monkeypatch, root: Mapping[str, str], reason: str
) -> None:
    monkeypatch.chdir(directory)
    with pytest.raises(aserve.SettingsError) as caught:
        aserve.Settings(root)
    assert (caught.value.setting, caught.value.reason) == ("root", reason)


@pytest.mark.parametrize("name", ["sub", "a.txt"])
def test_what_may_not_be_read(directory: Path, name: str, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(aserve.SettingsError, match="cannot be read: permission denied"):
        aserve.Settings(directory / name)
