"""Several directories and files in one tree: what is where, what is hidden, and what is fresh."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.directory import FileSystem
from aserve.filesystem.entries import EntryReader, entry_of
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import (
    DirectoryWithoutIndex,
    DirectoryWithoutSlash,
    Document,
    Entry,
    Resource,
)
from aserve.server.files import build_files


def files_of(root: dict[str, Path] | Path) -> FileSystem:
    return build_files(Settings(root), Mounts())


def found(files: FileSystem, target: str) -> type[Resource] | int | bytes:
    """Return the bytes of a file, the type of another resource, or the status of an error."""
    try:
        resource = files.find(parse_path(target), wait=True)
    except HttpError as error:
        return error.status
    if isinstance(resource, Document):
        plain = resource.representations[0]
        return plain.source.read(0, plain.length)
    return type(resource)


def names(files: FileSystem, target: str) -> dict[bytes, bool]:
    return {one.name: one.is_directory for one in files.entries(parse_path(target))}


def walked(files: FileSystem, target: str = "/") -> list[str]:
    found = [(b"/".join(path), one) for path, one in files.walk(parse_path(target))]
    return [os.fsdecode(path) + ("/" if one.is_directory else "") for path, one in found]


def make_trees(tmp_path: Path) -> Path:
    """Make two directories and a file."""
    for name, content in {
        "www/index.html": "home",
        "www/a/x": "www a x",
        "www/docs/old": "hidden by the other docs",
        "www/file/under": "hidden by a file",
        "www/plain": "replaced by a directory",
        "www/z": "z",
        "docs/new": "new",
        "docs/sub/deep": "deep",
        "docs/.secret": "secret",
        "docs/private/y": "y",
        "film.mkv": "film",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    return make_trees(tmp_path)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same once, for tests that change nothing."""
    return make_trees(tmp_path_factory.mktemp("combined"))


@pytest.fixture
def combined(trees: Path) -> FileSystem:
    return files_of(
        {
            "": trees / "www",
            "docs": trees / "docs",
            "docs/api/v1": trees / "docs" / "sub",
            "file": trees / "film.mkv",
            "plain/below": trees / "docs" / "sub",
        }
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", b"home"),
        ("/a/x", b"www a x"),
        ("/a", DirectoryWithoutSlash),
        ("/a/", DirectoryWithoutIndex),
        ("/docs", DirectoryWithoutSlash),
        ("/docs/", DirectoryWithoutIndex),
        ("/docs/new", b"new"),
        ("/docs/sub", DirectoryWithoutSlash),
        ("/docs/sub/deep", b"deep"),
        ("/docs/old", 404),
        ("/docs/.secret", 404),
        ("/docs/api", DirectoryWithoutSlash),
        ("/docs/api/", DirectoryWithoutIndex),
        ("/docs/api/v1", DirectoryWithoutSlash),
        ("/docs/api/v1/deep", b"deep"),
        ("/docs/api/v2", 404),
        ("/docs/api/v1/../../new", b"new"),
        ("/file", b"film"),
        ("/file/", 404),
        ("/file/under", 404),
        ("/plain", DirectoryWithoutSlash),
        ("/plain/", DirectoryWithoutIndex),
        ("/plain/below/deep", b"deep"),
        ("/nothing", 404),
    ],
)
def test_the_longest_path_decides(combined: FileSystem, target: str, expected: object) -> None:
    assert found(combined, target) == expected


def test_entries_are_those_that_can_be_requested(combined: FileSystem) -> None:
    assert names(combined, "/") == {
        b"index.html": False,
        b"z": False,
        b"file": False,
        b"a": True,
        b"docs": True,
        b"plain": True,
    }
    assert names(combined, "/docs/") == {
        b"new": False,
        b"sub": True,
        b"private": True,
        b"api": True,
    }
    assert names(combined, "/docs/api/") == {b"v1": True}
    assert names(combined, "/docs/sub/") == {b"deep": False}
    assert names(combined, "/plain/") == {b"below": True}
    with pytest.raises(HttpError, match="404"):
        combined.entries(parse_path("/nothing/"))


def test_only_what_members_may_replace_is_looked_at_before_it_is_needed(
    trees: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of 50,000 files, with another one in it, is listed a page at a time."""
    looked_at: list[bytes] = []
    look = EntryReader.entry

    def spy(reader: EntryReader, directory: int, path: bytes, name: bytes) -> Entry | None:
        looked_at.append(name)
        return look(reader, directory, path, name)

    monkeypatch.setattr(EntryReader, "entry", spy)
    files = files_of({"": trees / "www", "docs": trees / "docs", "z": trees / "docs"})
    found = files.entries(parse_path("/"))
    assert sorted(looked_at) == [b"docs", b"z"]
    assert (len(found), found[2].name) == (6, b"file")
    expected = [b"a", b"docs", b"file", b"z", b"index.html", b"plain"]
    assert [entry.name for entry in found] == expected
    assert [entry.name for entry in found if entry.is_directory] == expected[:4]


def test_an_entry_by_its_path_is_the_one_that_a_walk_finds(combined: FileSystem) -> None:
    root = TargetPath((), is_directory=True)
    walked = dict(combined.walk(root))
    assert len(walked) > 10
    for path, entry in walked.items():
        assert combined.entry(TargetPath(path, is_directory=False)) == entry
    assert combined.entry(root).is_directory
    for target in ("/nothing", "/file/under", "/docs/old", "/docs/.secret"):
        with pytest.raises(HttpError, match="404"):
            combined.entry(parse_path(target))


def test_a_walk_goes_through_all_of_them_in_order(combined: FileSystem) -> None:
    everything = [
        *("a/", "a/x", "docs/", "docs/api/", "docs/api/v1/", "docs/api/v1/deep"),
        *("docs/new", "docs/private/", "docs/private/y", "docs/sub/", "docs/sub/deep"),
        *("file", "index.html", "plain/", "plain/below/", "plain/below/deep", "z"),
    ]
    assert walked(combined) == everything
    docs = [name.removeprefix("docs/") for name in everything if name.startswith("docs/")]
    assert walked(combined, "/docs/") == docs[1:]
    assert walked(combined, "/docs/api/") == ["v1/", "v1/deep"]
    assert walked(combined, "/a/") == ["x"]
    with pytest.raises(HttpError, match="404"):
        walked(combined, "/nothing/")


def test_without_a_root_there_is_only_the_way_to_the_others(trees: Path) -> None:
    files = files_of({"a": trees / "www", "b/c": trees / "docs"})
    assert found(files, "/") == DirectoryWithoutIndex
    assert names(files, "/") == {b"a": True, b"b": True}
    assert walked(files)[:2] == ["a/", "a/a/"]
    assert walked(files, "/b/")[:2] == ["c/", "c/new"]
    assert found(files, "/index.html") == 404
    modified = {one.name: one.modified for one in files.entries(parse_path("/"))}
    assert modified[b"b"] == (trees / "docs").stat().st_mtime_ns


def test_an_entry_describes_what_is_served(trees: Path) -> None:
    files = files_of({"a": trees / "www", "b": trees / "film.mkv"})
    first, second = sorted(files.entries(parse_path("/")))
    assert first == entry_of(b"a", (trees / "www").stat())
    assert second == entry_of(b"b", (trees / "film.mkv").stat())
    assert (second.size, second.is_directory, first.is_directory) == (4, False, True)


def test_what_has_gone_is_not_listed_and_the_rest_is_served(trees: Path) -> None:
    files = files_of({"a": trees / "www", "b": trees / "film.mkv", "c": trees / "docs"})
    (trees / "film.mkv").unlink()
    (trees / "docs").rename(trees / "elsewhere")
    (trees / "docs").write_text("a file now")
    assert names(files, "/") == {b"a": True}
    assert found(files, "/b") == found(files, "/c/new") == 404
    assert walked(files, "/")[-1] == "a/z"
    (trees / "docs").unlink()
    (trees / "elsewhere").rename(trees / "docs")
    assert found(files, "/c/new") == b"new"
    (trees / "film.mkv").mkdir()
    assert found(files, "/b") == 404
    assert names(files, "/") == {b"a": True, b"c": True}


def test_responses_can_be_cached_by_the_paths_on_disk(combined: FileSystem, trees: Path) -> None:
    for target, path in {"/file": "film.mkv", "/docs/api/v1/deep": "docs/sub/deep"}.items():
        assert combined.find(parse_path(target), wait=True).path == os.fsencode(trees / path)


def test_a_file_on_a_network_is_waited_for_and_not_cached(trees: Path) -> None:
    class Remote(Mounts):
        def tracking_of(self, device: int) -> ChangeTracking:
            return ChangeTracking.NONE

    files = build_files(Settings(trees / "film.mkv"), Remote())
    with pytest.raises(BlockingIOError):
        files.find(parse_path("/film.mkv"), wait=False)
    assert files.find(parse_path("/film.mkv"), wait=True).path == b""


def test_what_is_named_is_served_and_what_is_below_as_the_policy_says(trees: Path) -> None:
    root = {".config": trees / "docs", "key.pem": trees / "film.mkv", "docs": trees / "docs"}
    files = build_files(Settings(root, hide=("docs/private", "sub")), Mounts())
    assert names(files, "/") == {b".config": True, b"key.pem": False, b"docs": True}
    assert found(files, "/.config/new") == found(files, "/docs/new") == b"new"
    assert found(files, "/key.pem") == b"film"
    assert found(files, "/.config/.secret") == found(files, "/docs/.secret") == 404
    assert found(files, "/docs/private/y") == found(files, "/docs/sub/deep") == 404
    assert names(files, "/docs/") == {b"new": False}
    assert names(files, "/.config/") == {b"new": False, b"private": True}


def test_links_lead_nowhere_else(trees: Path) -> None:
    (trees / "docs" / "out").symlink_to(trees / "www")
    (trees / "docs" / "in").symlink_to("new")
    (trees / "docs" / "loop").symlink_to(".")
    files = files_of({"docs": trees / "docs", "www": trees / "www"})
    assert found(files, "/docs/out/z") == 404
    assert found(files, "/docs/in") == b"new"
    assert b"out" not in names(files, "/docs/")
    assert sum(name.endswith("new") for name in walked(files)) == 1


NAMES = [b"a", b"docs", b"x", b"new", b"sub", b"index.html"]
paths = st.lists(st.sampled_from(NAMES), max_size=3).map(tuple)


@given(
    members=st.dictionaries(paths, st.sampled_from(["www", "docs", "film.mkv"]), min_size=1),
    target=paths.filter(bool),  # no target is the root without its slash
)
def test_what_is_listed_is_found_and_what_is_found_is_listed(
    tree: Path, members: dict[tuple[bytes, ...], str], target: tuple[bytes, ...]
) -> None:
    root = {os.fsdecode(b"/".join(path)): tree / name for path, name in members.items()}
    try:
        files = files_of(root)
    except SettingsError:
        return  # a file at the root, or something below a file
    listed = dict(files.walk(parse_path("/")))
    assert list(listed) == sorted(listed)
    for path, entry in listed.items():
        resource = files.find(TargetPath(path, is_directory=False), wait=True)
        assert isinstance(resource, DirectoryWithoutSlash if entry.is_directory else Document)
        assert entry.name == path[-1]
    for directory in ((), *(path for path, entry in listed.items() if entry.is_directory)):
        entries = files.entries(TargetPath(directory, is_directory=True))
        below = {path: one for path, one in listed.items() if path[:-1] == directory}
        assert {(*directory, one.name): one for one in entries} == below
    with suppress(HttpError):
        files.find(TargetPath(target, is_directory=False), wait=True)
        assert target in listed
