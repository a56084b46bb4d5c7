"""The entries of directories: what is visible, described as a request would find it."""

import errno
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from aserve.filesystem import entries, natural_order
from aserve.filesystem.directory import Directory
from aserve.filesystem.entries import EntryReader
from aserve.filesystem.visibility import Symlinks, Visibility
from aserve.http.messages import HttpError, NotFound
from aserve.http.request_target import TargetPath
from aserve.http.resources import DirectoryWithoutIndex, Document, Entry

ROOT = TargetPath((), is_directory=True)


def at(path: str) -> TargetPath:
    return TargetPath(tuple(os.fsencode(path).split(b"/")), is_directory=True)


def names(files: Directory, path: TargetPath = ROOT) -> list[bytes]:
    return sorted(entry.name for entry in files.entries(path))


def walked(files: Directory, path: TargetPath = ROOT) -> list[bytes]:
    return [b"/".join(names) for names, _ in files.walk(path)]


def test_entries_are_described(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "d").mkdir()
    (tmp_path / "l").symlink_to("a")
    (tmp_path / "ld").symlink_to("d")
    os.utime(tmp_path / "a", ns=(0, 1_234_567_890_123_456_789))
    os.utime(tmp_path / "d", ns=(0, -5))
    described = [one[:5] for one in sorted(Directory(tmp_path).entries(ROOT))]
    assert [Entry(*fields) for fields in described] == [
        Entry(b"a", is_directory=False, size=5, modified=1_234_567_890_123_456_789),
        Entry(b"d", is_directory=True, size=0, modified=-5),
        Entry(b"l", is_directory=False, size=5, modified=1_234_567_890_123_456_789, is_link=True),
        Entry(b"ld", is_directory=True, size=0, modified=-5, is_link=True),
    ]


def test_entries_are_a_sequence_with_directories_first(tmp_path: Path) -> None:
    for name in ("a10", "a9"):
        (tmp_path / name).touch()
    (tmp_path / "z").mkdir()
    found = Directory(tmp_path).entries(ROOT)
    assert len(found) == 3
    assert [entry.name for entry in found] == [b"z", b"a9", b"a10"]
    assert found[0].name == b"z"
    assert [entry.name for entry in found[1:]] == [b"a9", b"a10"]


def test_no_descriptor_is_held_between_two_looks(tmp_path: Path) -> None:
    """A client that reads a long listing slowly would hold it."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"1")
    before = len(os.listdir("/proc/self/fd"))
    found = Directory(tmp_path).entries(ROOT)
    assert found[0].name == b"a"
    assert len(os.listdir("/proc/self/fd")) == before
    (tmp_path / "b").write_bytes(b"22")
    assert found[1].size == 2
    shutil.rmtree(tmp_path)
    assert (len(found), list(found), found[:]) == (2, [], [])


def test_an_entry_by_its_path_is_the_one_that_is_listed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "x.key").touch()
    files = Directory(tmp_path)
    for directory in (ROOT, at("sub"), at("link")):
        for entry in files.entries(directory):
            path = TargetPath((*directory.segments, entry.name), is_directory=False)
            assert files.entry(path) == entry._replace(is_link=False)
    assert files.entry(ROOT).is_directory
    for hidden in ("x.key", "none", "sub/file/below", ".git"):
        with pytest.raises(NotFound):
            files.entry(at(hidden))


def test_what_is_no_file_is_no_entry(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to_fifo").symlink_to("fifo")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert names(Directory(tmp_path)) == []


@pytest.mark.parametrize(
    ("symlinks", "expected"),
    [
        (Symlinks.NONE, [b"dir", b"secret"]),
        (Symlinks.INSIDE, [b"dir", b"inside", b"secret", b"to_dir"]),
        (Symlinks.ALL, [b"dir", b"inside", b"out", b"out_dir", b"secret", b"to_dir"]),
    ],
)
def test_links(tmp_path: Path, symlinks: Symlinks, expected: list[bytes]) -> None:
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "secret").touch()
    (root / "x.key").touch()
    (tmp_path / "file").touch()
    (tmp_path / "y.key").touch()
    for name, target in {
        "inside": f"{root}/secret",
        "to_dir": "dir",
        "out": "../file",
        "out_dir": str(tmp_path),
        "to_key": "x.key",
        "to_key_outside": "../y.key",
        "magic": "/proc/self/cwd",
    }.items():
        (root / name).symlink_to(target)
    files = Directory(root, visibility=Visibility(symlinks=symlinks))
    assert names(files) == expected
    for name in os.listdir(root):
        path = TargetPath((os.fsencode(name),), is_directory=os.path.isdir(root / name))
        if os.fsencode(name) in expected:
            assert isinstance(files.find(path, wait=True), Document | DirectoryWithoutIndex)
        else:
            with pytest.raises(HttpError) as error:
                files.find(path, wait=True)
            assert error.value.status == 404


def test_what_a_glob_hides_is_hidden_behind_links_to_its_directory(tmp_path: Path) -> None:
    for directory in ("real/private", "moved/private"):
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "file").touch()
    (tmp_path / "real" / "secret").touch()
    (tmp_path / "real" / "open").touch()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "self").symlink_to(".")
    files = Directory(tmp_path, visibility=Visibility(["real/secret", "/real/private"]))
    assert names(files, at("link")) == names(files, at("self/real")) == [b"open"]
    assert walked(files, at("link")) == [b"open"]
    # Not hidden there, and no longer behind a link that leads there.
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("moved")
    assert names(files, at("link")) == [b"private"]
    for name, _ in files.walk(ROOT):
        if name[-1] in {b"open", b"file"}:
            files.find(TargetPath(name, is_directory=False), wait=True)
        assert name[-1] != b"secret"


def test_what_is_too_deep_to_be_opened_is_no_entry(tmp_path: Path) -> None:
    """One such file would be a dead link, and the end of each archive above it."""
    depth = 15
    below = os.open(tmp_path, os.O_PATH)
    for _ in range(depth):
        os.mkdir("d" * 255, dir_fd=below)
        above, below = below, os.open("d" * 255, os.O_PATH, dir_fd=below)
        os.close(above)
    # All names and slashes on the path to it have 3,840 bytes: PATH_MAX, with its NUL, has 4,096.
    for name in ("a" * 255, "b" * 254):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=below))
    os.mkdir("c" * 254, dir_fd=below)
    deepest = os.open("c" * 254, os.O_PATH, dir_fd=below)
    os.close(os.open("e", os.O_CREAT | os.O_WRONLY, dir_fd=deepest))
    os.close(deepest)
    os.close(below)
    files = Directory(tmp_path)
    found = {names[-1]: (names, entry) for names, entry in files.walk(ROOT) if len(names) > depth}
    assert found.keys() == {b"a" * 255, b"b" * 254, b"c" * 254}
    for path, entry in found.values():
        files.find(TargetPath(path, entry.is_directory), wait=True)


def test_directory_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / ".git").mkdir()
    for path in ("none", "file", ".git", "none/below"):
        with pytest.raises(HttpError) as error:
            Directory(tmp_path).entries(at(path))
        assert error.value.status == 404
        with pytest.raises(HttpError) as error:
            next(Directory(tmp_path).walk(at(path)))
        assert error.value.status == 404


def test_walk_is_sorted_and_never_ends_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "f").touch()
    (tmp_path / "a").touch()
    (tmp_path / "b" / "up").symlink_to("..")
    (tmp_path / "b" / ".hidden").touch()
    (tmp_path / "z").symlink_to("b/c")
    (tmp_path / "out").symlink_to("/etc")
    files = Directory(tmp_path)
    assert walked(files) == [b"a", b"b", b"b/c", b"b/c/f", b"b/up", b"z", b"z/f"]
    below = walked(files, at("b"))
    assert below == [b"c", b"c/f", b"up", b"up/a", b"up/b", b"up/z", b"up/z/f"]


@pytest.mark.usefixtures("nobody")
def test_what_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "d").mkdir()
        (root / "d" / "f").touch()
        (root / "f").touch(mode=0)
        (root / "d").chmod(0)
        files = Directory(root)
        assert walked(files) == [b"d", b"f"]
        for path in ("d", "d/below"):
            with pytest.raises(HttpError) as error:
                files.entries(at(path))
            assert error.value.status == 403
        (root / "d").chmod(0o400)  # its names may be read, and nothing else
        with pytest.raises(HttpError) as error:
            list(files.entries(at("d")))
        assert error.value.status == 403
        (root / "d").chmod(0o700)


def test_no_descriptor_is_leaked(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "d").mkdir(parents=True)
    (tmp_path / "l").symlink_to("a")
    (tmp_path / "m").symlink_to("/etc")
    files = Directory(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    files.entries(ROOT)
    walk = files.walk(ROOT)
    next(walk)
    walk.close()
    list(files.walk(ROOT))
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("function", "error", "status"),
    [
        ("stat_beneath", errno.EMFILE, 503),
        ("open_beneath", errno.EMFILE, 503),
        ("open_beneath", errno.EIO, 500),
    ],
)
def test_what_could_not_be_found_out_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: int, status: int
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "l").symlink_to("d/f")
    found = list(Directory(tmp_path).walk(ROOT))
    assert len(found) == 3
    works = getattr(entries, function)

    def fail_below(root: int, path: bytes, *arguments: object, **named: object) -> object:
        if path == b".":
            return works(root, path, *arguments, **named)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(entries, function, fail_below)
    with pytest.raises(HttpError) as raised:
        list(Directory(tmp_path).walk(ROOT))
    assert raised.value.status == status


def test_an_index_decides_what_a_directory_is(tmp_path: Path) -> None:
    """Also where the index is hidden, no file, or a link that is not followed."""
    (tmp_path / "a" / "index.html").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").touch()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.html").symlink_to("../b/index.html")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "index.html").symlink_to("/etc/passwd")

    def lists(path: str, visibility: Visibility) -> bool:
        found = Directory(tmp_path, visibility=visibility).find(at(path), wait=True)
        return isinstance(found, DirectoryWithoutIndex)

    assert [lists(path, Visibility()) for path in "abcd"] == [True, False, False, True]
    hiding = Visibility(["index.html"])
    assert [lists(path, hiding) for path in "abcd"] == [True] * 4
    none = Visibility(symlinks=Symlinks.NONE)
    assert [lists(path, none) for path in "abcd"] == [True, False, True, True]


def test_siblings_that_are_hidden_are_not_used(tmp_path: Path) -> None:
    for name in ("a.js", "a.js.gz", "a.js.br"):
        (tmp_path / name).write_bytes(b"x")
    path = TargetPath((b"a.js",), is_directory=False)
    found = Directory(tmp_path, visibility=Visibility(["*.gz"])).find(path, wait=True)
    assert isinstance(found, Document)
    assert [one.coding for one in found.representations] == ["identity", "br"]


def test_a_walk_reads_a_directory_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped has not described a million entries, and keeps nothing open."""
    monkeypatch.setattr(entries, "_AT_ONCE", 3)
    described: list[bytes] = []
    entry = EntryReader.entry

    def counting(self: EntryReader, directory: int, path: bytes, name: bytes) -> Entry | None:
        described.append(name)
        return entry(self, directory, path, name)

    monkeypatch.setattr(EntryReader, "entry", counting)
    for number in range(8):
        (tmp_path / f"f{number}").touch()
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "h").touch()
    files = Directory(tmp_path)
    assert walked(files) == [*(b"f%d" % number for number in range(8)), b"g", b"g/h"]
    described.clear()
    walk = files.walk(ROOT)
    next(walk)
    assert described == [b"f0", b"f1", b"f2"]
    for number in range(3, 8):
        (tmp_path / f"f{number}").unlink()
    assert [b"/".join(names) for names, _ in walk] == [b"f1", b"f2", b"g", b"g/h"]


def test_a_walk_never_sorts_many_names_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sort keeps the interpreter until it is done: 62 ms for 50,000 names."""
    for number in range(40):
        (tmp_path / f"{number}").touch()
    sizes = []

    def counting(keys: Iterable[bytes]) -> list[bytes]:
        keys = list(keys)
        sizes.append(len(keys))
        return sorted(keys)

    for module in (entries, natural_order):
        monkeypatch.setattr(module, "sorted", counting, raising=False)
    monkeypatch.setattr(natural_order, "_STEP", 2)
    assert walked(Directory(tmp_path)) == sorted(map(os.fsencode, os.listdir(tmp_path)))
    assert max(sizes) <= 4


def test_a_directory_that_vanishes_while_it_is_walked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_AT_ONCE", 1)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "d" / "g").touch()
    (tmp_path / "e").touch()
    walk = Directory(tmp_path).walk(ROOT)
    assert [next(walk)[0] for _ in range(2)] == [(b"d",), (b"d", b"f")]
    (tmp_path / "d").rename(tmp_path / "moved")
    assert [names for names, _ in walk] == [(b"e",)]


def test_random_trees_are_walked_as_scandir_lists_them(tmp_path: Path) -> None:
    random.seed(3)
    directories = [tmp_path]
    for number in range(120):
        parent = random.choice(directories)
        if random.random() < 0.3:
            directories.append(parent / f"d{number}")
            directories[-1].mkdir()
        else:
            (parent / f"f{number}").touch()
    expected = []

    def descend(directory: Path) -> None:
        for entry in sorted(os.scandir(directory), key=lambda entry: os.fsencode(entry.name)):
            expected.append(os.fsencode(os.path.relpath(entry.path, tmp_path)))
            if entry.is_dir():
                descend(Path(entry.path))

    descend(tmp_path)
    assert walked(Directory(tmp_path)) == expected
