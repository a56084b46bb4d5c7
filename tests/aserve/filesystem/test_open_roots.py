"""The roots of sites stay open: while they are used, and their paths lead to them."""

import os
import shutil
from contextlib import suppress

import pytest

from aserve.filesystem import open_roots
from aserve.filesystem.directory import Directory
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.http.request_target import TargetPath


@pytest.fixture
def directories():
    monitor = ChangeMonitor()
    yield WatchedDirectories(monitor)
    monitor.close()


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "above" / "root"
    root.mkdir(parents=True)
    (root / "name").write_text("old")
    return root


@pytest.fixture
def find(directories, root):
    """Return what reads the file of the site, as an event loop does."""
    files = Directory(root, directories.monitor.mounts, directories=directories)

    def find():
        path = TargetPath((b"name",), is_directory=False)
        files.find(path, wait=True)  # so that the kernel knows which siblings are not there
        document = files.find(path, wait=False)
        return document.representations[0].source.read(0, 3)

    return find


def is_open(directory):
    """Tell whether this process has a descriptor of a directory, by whatever name it has now."""
    wanted = os.stat(directory)
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # a thread has closed it since
            if os.path.samestat(os.fstat(int(descriptor)), wanted):
                return True
    return False


def watch_count(monitor):
    with open(f"/proc/self/fdinfo/{monitor.inotify.fileno()}") as info:
        return info.read().count("inotify wd:")


def test_a_root_is_opened_once(directories, root, monkeypatch):
    path = os.fsencode(root)
    first = directories.roots.get(path)
    monkeypatch.setattr(open_roots, "open_directory", None)
    assert directories.roots.get(path) is first
    assert os.path.samestat(os.fstat(first.descriptor), os.stat(root))
    assert first.identity == (root.stat().st_dev, root.stat().st_ino)


def replace_root(root):
    root.rename(root.with_name("old"))
    root.with_name("new").rename(root)


def replace_directory_above(root):
    above = root.parent
    other = above.with_name("other")
    shutil.copytree(above, other)
    shutil.copy(root.with_name("new") / "name", other / "root")
    above.rename(above.with_name("away"))
    other.rename(above)


@pytest.mark.parametrize("replace", [replace_root, replace_directory_above])
def test_a_root_that_is_replaced_is_seen_at_once(find, root, replace):
    new = root.with_name("new")
    new.mkdir()
    (new / "name").write_text("new")
    assert find() == b"old"
    assert find() == b"old"
    replace(root)
    assert find() == b"new"


def has_been_followed(link):
    """Have the kernel follow a link without waiting: its access time need not be written now."""
    os.utime(link, (4_000_000_000, 1), follow_symlinks=False)
    assert link.is_dir()


def test_a_link_to_another_root_is_seen_at_once(directories, tmp_path):
    for release in ("old", "new"):
        (tmp_path / release).mkdir()
    link = tmp_path / "current"
    link.symlink_to("old")
    has_been_followed(link)
    path = os.fsencode(link)
    assert directories.roots.get(path).identity[1] == (tmp_path / "old").stat().st_ino
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(link)
    has_been_followed(link)
    assert directories.roots.get(path).identity[1] == (tmp_path / "new").stat().st_ino


def test_a_root_that_is_gone_is_not_there(find, root):
    assert find() == b"old"
    root.rename(root.with_name("away"))
    with pytest.raises(Exception, match="Nothing is here"):
        find()


def test_a_root_is_closed_after_a_second_in_which_nobody_used_it(directories, find, root):
    find()
    directories.roots.close_unused()
    find()
    directories.roots.close_unused()
    assert is_open(root)
    directories.roots.close_unused()
    assert not is_open(root)
    assert watch_count(directories.monitor) == 0
    assert find() == b"old"
    assert is_open(root)


@pytest.mark.parametrize("forget", [ChangeMonitor.reset, ChangeMonitor.close])
def test_a_root_is_closed_when_all_is_forgotten(directories, find, root, forget):
    find()
    forget(directories.monitor)
    assert not is_open(root)
    assert find() == b"old"


@pytest.mark.parametrize("tracking", [ChangeTracking.STATE, ChangeTracking.NONE])
def test_a_root_without_events_is_not_kept(directories, find, root, monkeypatch, tracking):
    monkeypatch.setattr(Mounts, "tracking_of", lambda self, device: tracking)
    if tracking is ChangeTracking.NONE:
        with pytest.raises(BlockingIOError):
            find()
    else:
        assert find() == b"old"
    assert not is_open(root)
    assert watch_count(directories.monitor) == 0


def test_no_more_than_a_few_roots_stay_open(directories, tmp_path, monkeypatch):
    monkeypatch.setattr(open_roots, "_MAX_WATCHED", 2)
    roots = [tmp_path / str(number) for number in range(4)]
    for root in roots:
        root.mkdir()
        assert directories.roots.get(os.fsencode(root)).identity[1] == root.stat().st_ino
    assert [is_open(root) for root in roots] == [True, True, False, False]
