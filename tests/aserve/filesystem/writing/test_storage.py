"""Files are written whole or not at all, beneath the root and nowhere else."""

import errno
import os
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.filesystem.visibility import Visibility
from aserve.filesystem.writing import deletion, errors, tree
from aserve.filesystem.writing.storage import Storage
from aserve.http.request_target import TargetPath
from tests.aserve.filesystem.writing.storages import anything, contents, put, target


class RefusedError(Exception):
    """What a guard raises."""


def refuse(_status: os.stat_result | None) -> None:
    raise RefusedError


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_written(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        written = put(Storage(tmp_path), "a.txt", b"new")
    finally:
        os.umask(umask)
    assert written.is_new
    assert written.path == target("a.txt")
    assert written.status == (tmp_path / "a.txt").stat()
    assert mode_of(tmp_path / "a.txt") == 0o640
    assert contents(tmp_path) == {"a.txt": b"new"}


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    (tmp_path / "a.txt").chmod(0o4604)
    with (tmp_path / "a.txt").open("rb") as reader:
        written = put(Storage(tmp_path), "a.txt", b"new")
        assert reader.read() == b"old"
    assert not written.is_new
    assert written.status == (tmp_path / "a.txt").stat()
    assert mode_of(tmp_path / "a.txt") == 0o604  # never the setuid bit
    assert contents(tmp_path) == {"a.txt": b"new"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    os.chown(tmp_path / "a.txt", 1234, 5678)
    status = put(Storage(tmp_path), "a.txt", b"new").status
    assert (status.st_uid, status.st_gid) == (1234, 5678)


def test_the_path_of_the_root_may_have_links_and_lead_elsewhere_later(tmp_path: Path) -> None:
    """As where a whole site is replaced by one link."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "root"
    link.symlink_to("one")
    storage = Storage(link)
    put(storage, "a", b"1")
    file = storage.begin(target("b"))
    link.unlink()
    link.symlink_to("two")
    file.commit(anything)
    assert contents(tmp_path) == {"one/a": b"1", "two/b": b""}


def test_nothing_is_there_before_commit_and_nothing_after_abort(tmp_path: Path) -> None:
    file = Storage(tmp_path).begin(target("a.txt"))
    file.write(b"half")
    assert contents(tmp_path) == {}
    file.abort()
    file.abort()
    assert contents(tmp_path) == {}
    assert os.listdir(tmp_path) == []


def test_fewer_bytes_than_were_announced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    file = Storage(tmp_path).begin(target("a.txt"), 3)
    file.write(b"12")
    with pytest.raises(errors.Incomplete):
        file.commit(anything)
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_more_bytes_than_were_announced(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    file = Storage(tmp_path).begin(target("a.txt"), 3)
    file.write(b"123")
    with pytest.raises(errors.Incomplete):
        file.write(b"4")
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_the_guard_is_asked_about_what_is_there(tmp_path: Path) -> None:
    storage, seen = Storage(tmp_path), []
    file = storage.begin(target("a.txt"))
    file.commit(seen.append)
    status = (tmp_path / "a.txt").stat()
    storage.begin(target("a.txt")).commit(seen.append)
    storage.delete(target("a.txt"), seen.append)
    assert seen[:2] == [None, status]
    assert seen[2].st_ino != status.st_ino


def test_what_the_guard_refuses_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    storage = Storage(tmp_path)
    for path in ("a.txt", "b.txt"):
        file = storage.begin(target(path))
        file.write(b"new")
        with pytest.raises(RefusedError):
            file.commit(refuse)
    with pytest.raises(RefusedError):
        storage.delete(target("a.txt"), refuse)
    with pytest.raises(RefusedError):
        storage.move(target("a.txt"), target("b.txt"), refuse)
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_a_name_that_another_program_takes_while_the_guard_is_asked(tmp_path: Path) -> None:
    """The kernel refuses the name; then the guard is asked about what took it."""
    seen = []

    def race(status: os.stat_result | None) -> None:
        seen.append(status)
        if status is None:
            (tmp_path / "a.txt").write_bytes(b"theirs")
        else:
            raise RefusedError

    with pytest.raises(RefusedError):
        Storage(tmp_path).begin(target("a.txt")).commit(race)
    assert [status and status.st_size for status in seen] == [None, 6]
    assert contents(tmp_path) == {"a.txt": b"theirs"}


def test_conflicts(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    put(storage, "a.tar.gz", b"1")
    with pytest.raises(errors.Exists):
        put(storage, "a.tar.gz", b"2", "error")
    assert put(storage, "a.tar.gz", b"3", "rename").path == target("a (1).tar.gz")
    assert put(storage, "a.tar.gz", b"4", "rename").path == target("a (2).tar.gz")
    assert not put(storage, "a.tar.gz", b"5", "replace").is_new
    assert contents(tmp_path) == {"a.tar.gz": b"5", "a (1).tar.gz": b"3", "a (2).tar.gz": b"4"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one of everything that nothing may be written to."""
    root = tmp_path / "site"
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"old")
    (root / "link").symlink_to("file")
    (root / "dangling").symlink_to("new")
    (root / "link-to-folder").symlink_to("folder")
    os.mkfifo(root / "pipe")
    return root


NEVER = [
    ("", errors.InvalidName),
    ("..", errors.InvalidName),
    ("folder/../b", errors.InvalidName),
    ("a\0b", errors.InvalidName),
    ("n" * 256, errors.InvalidName),
    ("\xe4" * 128, errors.InvalidName),
    (".git/config", errors.Hidden),
    (".env", errors.Hidden),
    ("server.key", errors.Hidden),
    ("folder/.aserve-upload-1", errors.Hidden),
    ("secret/a", errors.Hidden),
    ("none/a", errors.ParentMissing),
    ("file/a", errors.ParentMissing),
    ("link-to-folder/a", errors.IsLink),
]
TAKEN = [
    ("folder", errors.IsDirectory),
    ("link", errors.IsLink),
    ("dangling", errors.IsLink),
    ("pipe", errors.IsSpecial),
]


def test_long_names_and_many_conflicts(tmp_path: Path) -> None:
    storage, name = Storage(tmp_path, fsync=False), "\xe4" * 125 + ".tar"
    paths = [put(storage, name, b"", "rename").path for _ in range(103)]
    names = [path.segments[0].decode() for path in paths]
    assert names[:3] == [name, "\xe4" * 123 + " (1).tar", "\xe4" * 123 + " (2).tar"]
    assert names[99] == "\xe4" * 123 + " (99).tar"
    assert len(set(names)) == 103


@pytest.mark.parametrize(("path", "error"), [*NEVER, *TAKEN])
def test_where_no_file_is_written(site: Path, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Storage(site, Visibility(["secret"])).begin(target(path))


@pytest.mark.parametrize(("path", "error"), NEVER)
def test_paths_that_nothing_can_be_done_with(site: Path, path: str, error: type[Exception]) -> None:
    storage = Storage(site, Visibility(["secret"]))
    for change in (
        lambda: storage.status(target(path)),
        lambda: storage.delete(target(path), anything, tree=True),
        lambda: storage.move(target(path), target("moved"), anything),
        lambda: storage.move(target("file"), target(path), anything),
        lambda: storage.make_directory(target(path)),
    ):
        with pytest.raises(error):
            change()


@pytest.mark.parametrize(("path", "error"), TAKEN)
def test_names_that_are_taken(site: Path, path: str, error: type[Exception]) -> None:
    storage = Storage(site)
    with pytest.raises(error):
        storage.delete(target(path), anything)
    with pytest.raises(errors.Exists):
        storage.make_directory(target(path))
    with pytest.raises(errors.Exists):
        storage.move(target("file"), target(path), anything)
    assert contents(site) == {"file": b"old"}


def test_what_appears_at_the_path_during_an_upload(site: Path) -> None:
    storage = Storage(site)
    file, other = storage.begin(target("late")), storage.begin(target("folder/a"))
    (site / "late").symlink_to("file")
    (site / "folder").rmdir()
    (site / "folder").symlink_to(site)
    for upload in (file, other):
        with pytest.raises(errors.IsLink):
            upload.commit(anything)
    assert contents(site) == {"file": b"old"}


def test_only_new_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    storage = Storage(tmp_path, mode="add")
    put(storage, "b.txt", b"new")
    put(storage, "a.txt", b"beside", "rename")
    put(storage, "a.tar.gz", b"new")
    storage.make_directory(target("folder"))
    for change in (
        lambda: put(storage, "a.txt", b"new"),
        lambda: storage.delete(target("a.txt"), anything),
        lambda: storage.move(target("a.txt"), target("c.txt"), anything),
        lambda: put(storage, "a.txt.gz", b"sent in place of a.txt"),
    ):
        with pytest.raises(errors.AddOnly):
            change()
    assert contents(tmp_path) == {
        "a.txt": b"old",
        "b.txt": b"new",
        "a (1).txt": b"beside",
        "a.tar.gz": b"new",
    }


def test_directories_are_made(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.make_directory(target("a"))
    with pytest.raises(errors.ParentMissing):
        storage.make_directory(target("b/c"))
    storage.make_directory(target("a/b/c"), parents=True)
    with pytest.raises(errors.Exists):
        storage.make_directory(target("a/b/c"), parents=True)
    put(storage, "a/b/c/d", b"new")
    assert contents(tmp_path) == {"a/b/c/d": b"new"}


def test_files_and_folders_are_moved(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.make_directory(target("a/b"), parents=True)
    put(storage, "a/b/c", b"1")
    put(storage, "d", b"2")
    storage.move(target("d"), target("a/e"), anything)
    storage.move(target("a/b"), target("f"), anything)
    for path, error in (
        ("f/g", errors.NotWritable),
        ("f", errors.Exists),
        ("a", errors.Exists),
    ):
        with pytest.raises(error):
            storage.move(target("f"), target(path), anything)
    assert contents(tmp_path) == {"a/e": b"2", "f/c": b"1"}


def test_a_folder_that_is_replaced_by_another_before_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one may hold files that are hidden."""
    (tmp_path / "a").mkdir()
    (tmp_path / "other").mkdir()
    check = deletion.check_tree

    def replace(*arguments: Any) -> object:
        checked = check(*arguments)
        (tmp_path / "a").rmdir()
        (tmp_path / "other").rename(tmp_path / "a")
        return checked

    monkeypatch.setattr(deletion, "check_tree", replace)
    with pytest.raises(errors.Busy):
        Storage(tmp_path).move(target("a"), target("b"), anything)
    assert os.listdir(tmp_path) == ["a"]


def test_a_tree_is_deleted_only_when_that_is_asked(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "site")
    (tmp_path / "site/a/b/c").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"kept")
    (tmp_path / "site/a/file").write_bytes(b"1")
    (tmp_path / "site/a/.aserve-upload-1").write_bytes(b"2")
    (tmp_path / "site/a/b/link").symlink_to(tmp_path)
    (tmp_path / "site/a/b/file").symlink_to(tmp_path / "outside")
    with pytest.raises(errors.IsDirectory):
        storage.delete(target("a"), anything)
    assert storage.delete(target("a"), anything, tree=True) == (7, None, ())
    with pytest.raises(errors.Missing):
        storage.delete(target("a"), anything, tree=True)
    assert contents(tmp_path) == {"outside": b"kept"}


def test_what_is_hidden_is_neither_deleted_nor_moved(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"1")
    (tmp_path / "a/b/secret").write_bytes(b"2")
    storage = Storage(tmp_path, Visibility(["a/b/secret"]))
    with pytest.raises(errors.NotEmpty):
        storage.delete(target("a"), anything, tree=True)
    with pytest.raises(errors.NotEmpty):
        storage.move(target("a"), target("c"), anything)
    assert contents(tmp_path) == {"a/b/file": b"1", "a/b/secret": b"2"}


def test_a_tree_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 3)
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/1", "a/b/2"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(errors.TooManyEntries):
        Storage(tmp_path).delete(target("a"), anything, tree=True)
    assert contents(tmp_path) == {"a/1": b"", "a/b/2": b""}


def test_what_could_not_be_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a directory of another owner, which the rest does not wait for."""
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/1", "a/b/stays", "a/b/goes"):
        (tmp_path / name).write_bytes(b"")
    unlink = os.unlink

    def fail(path: bytes, *, dir_fd: int) -> None:
        if path == b"stays":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", fail)
    deleted = Storage(tmp_path).delete(target("a"), anything, tree=True)
    monkeypatch.undo()
    assert deleted.removed == 2
    assert [(b"/".join(path.segments), type(error)) for path, error in deleted.failed] == [
        (b"a/b/stays", errors.NotWritable),
        (b"a/b", errors.NotEmpty),
        (b"a", errors.NotEmpty),
    ]
    assert contents(tmp_path) == {"a/b/stays": b""}


@given(st.lists(st.binary(max_size=300), max_size=2), st.booleans())
@example([b"\xff\xfe name\r\n"], False)
@example([b"..", b"a"], True)
def test_any_bytes_are_a_name_or_refused(names: list[bytes], dotfiles: bool) -> None:
    """It is stored beneath the root and read back, or nothing is there afterwards."""
    with TemporaryDirectory() as directory:
        root = Path(directory, "root")
        root.mkdir()
        storage = Storage(root, Visibility(dotfiles=dotfiles), fsync=False)
        path = TargetPath(tuple(names), is_directory=False)
        try:
            if names[:-1]:
                storage.make_directory(path._replace(segments=path.segments[:-1]))
            file = storage.begin(path)
            file.write(b"data")
            file.commit(anything)
        except errors.WriteError:
            assert contents(Path(directory)) == {}
        else:
            found = Path(os.fsdecode(b"/".join(names)))
            assert contents(root) == {str(found): b"data"}
            assert Visibility(dotfiles=dotfiles).is_visible(b"/".join(names))
        assert os.listdir(directory) == ["root"]
