"""Directories that know their names answer exactly what the kernel answers."""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aserve.filesystem import directory_names, monitor, mounts, open_beneath, watched_directories
from aserve.filesystem.directory import Directory
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.open_beneath import open_directory
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import DirectoryWithoutIndex, Document
from aserve.linux.directory_entries import (
    TYPE_DIRECTORY,
    TYPE_FILE,
    TYPE_LINK,
    TYPE_UNKNOWN,
    read_entries,
)
from aserve.linux.statx import file_id


class Tree:
    """A root, and the directories below it that know their names."""

    def __init__(self, root, max_watches=1_000):
        self.root = root
        self.monitor = ChangeMonitor(max_watches=max_watches)
        self.directories = WatchedDirectories(self.monitor)
        self.jobs, self.results = [], []
        self.directories.start(lambda *job: self.jobs.append(job) or True)

    def read_names(self):
        """Do what the thread does; finish is what the event loop does then."""
        self.results += [(on_done, job()) for job, on_done in self.jobs]
        self.jobs.clear()

    def finish(self):
        for on_done, entries in self.results:
            on_done(entries)
        self.results.clear()

    def run_jobs(self):
        self.read_names()
        self.finish()

    def get(self, path=b""):
        self.directories.monitor.process_changes()  # as OpenRoots does before each look-up
        root_fd = open_directory(os.fsencode(self.root), wait=True)
        try:
            return self.directories.get(file_id(root_fd), path)
        finally:
            os.close(root_fd)

    def count(self, path=b"", times=watched_directories._MIN_LOOKUPS):
        root_fd = open_directory(os.fsencode(self.root), wait=True)
        try:
            for _ in range(times):
                self.directories.count_lookup(root_fd, file_id(root_fd), path)
        finally:
            os.close(root_fd)

    def learn(self, path=b""):
        os.stat(os.path.join(os.fsencode(self.root), path))  # so that the kernel knows the path
        self.get(path)
        self.count(path)
        self.run_jobs()
        return self.get(path)

    @property
    def watches(self):
        """How many watches the kernel has."""
        with open(f"/proc/self/fdinfo/{self.monitor.inotify._descriptor}") as info:
            return info.read().count("inotify wd:")

    def close(self):
        self.run_jobs()
        self.monitor.close()


def place_with_events():
    """Return a new directory on a file system whose every change makes an event."""
    for parent in (None, "/dev/shm"):
        place = tempfile.mkdtemp(dir=parent)
        if mounts.Mounts().tracking_of(os.stat(place).st_dev) is mounts.ChangeTracking.EVENTS:
            return Path(place)
        os.rmdir(place)
    pytest.skip("no file system here reports every change")


@pytest.fixture
def place():
    place = place_with_events()
    yield place
    shutil.rmtree(place)


@pytest.fixture
def tree(place):
    root = place / "root"
    (root / "a" / "b").mkdir(parents=True)
    for path in ("one", "two.gz", "a/three", "a/b/four"):
        (root / path).write_text(path)
    tree = Tree(root)
    yield tree
    tree.close()


def names(directory):
    return set(directory.entries)


def test_the_entries_of_a_directory_and_their_types(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    # More than one call returns, and of all lengths: a step of the kernel's entries is 8 bytes.
    long = ["n" * 255, *(f"{number}".ljust(number % 255, "n") for number in range(600))]
    for name in long:
        (tmp_path / name).touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        entries = read_entries(descriptor, 1 << 20)
        os.lseek(descriptor, 0, os.SEEK_SET)
        assert read_entries(descriptor, 70_000) is None
    finally:
        os.close(descriptor)
    kinds = {b"file": TYPE_FILE, b"directory": TYPE_DIRECTORY, b"link": TYPE_LINK}
    assert entries == kinds | {name.encode(): TYPE_FILE for name in long}


def test_names_are_read_after_a_few_files(tree):
    tree.count(times=watched_directories._MIN_LOOKUPS - 1)
    assert not tree.jobs
    tree.count(times=1)
    assert len(tree.jobs) == 1
    assert tree.get() is None
    tree.run_jobs()
    assert tree.get().entries == {b"one": TYPE_FILE, b"two.gz": TYPE_FILE, b"a": TYPE_DIRECTORY}


def test_a_changed_name_counts_as_possibly_there(tree):
    known, generation = tree.learn(), tree.get().generation
    assert b"new" not in known.entries
    (tree.root / "new").touch()
    (tree.root / "one").unlink()
    assert tree.get() is known
    assert known.entries[b"one"] == known.entries[b"new"] == TYPE_UNKNOWN
    assert known.generation > generation


def test_the_path_to_a_directory_is_watched(tree):
    assert names(tree.learn(b"a/b")) == {b"four"}
    assert tree.watches == 3
    (tree.root / "a").rename(tree.root / "x")
    (tree.root / "a" / "b").mkdir(parents=True)
    (tree.root / "a" / "b" / "five").touch()
    assert tree.get(b"a/b") is None
    assert tree.watches == 0
    assert names(tree.learn(b"a/b")) == {b"five"}


def test_a_root_that_is_replaced_is_another_directory(tree):
    tree.learn()
    tree.root.rename(tree.root.with_name("old"))
    tree.root.mkdir()
    (tree.root / "new").touch()
    assert tree.get() is None
    assert names(tree.learn()) == {b"new"}


def test_a_directory_behind_a_link_is_not_known(tree):
    (tree.root / "link").symlink_to("a")
    assert tree.learn(b"link") is None
    assert tree.learn(b"link/b") is None
    assert tree.watches == 0


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("change", ["own name", "parent", "reset"])
def test_names_that_change_while_they_are_read_are_not_used(tree, change, is_read):
    os.stat(tree.root / "a")
    tree.count(b"a")
    if is_read:
        tree.read_names()
    if change == "own name":
        (tree.root / "a" / "new").touch()
    elif change == "parent":
        (tree.root / "a").rename(tree.root / "b")
        (tree.root / "a").mkdir()
    else:
        tree.monitor.reset()
    tree.run_jobs()
    assert tree.get(b"a") is None
    assert tree.watches == 0


def test_names_are_forgotten_in_a_flood_and_after_a_new_mount(tree, monkeypatch):
    tree.learn(b"a")
    monkeypatch.setattr(monitor, "_MAX_EVENTS", 10)
    for number in range(20):
        (tree.root / "a" / f"{number}").touch()
    assert tree.get(b"a") is None
    assert tree.learn(b"a") is None  # nothing is watched in a pause
    for _ in range(2):
        tree.monitor.tick()
    assert tree.learn(b"a")
    monkeypatch.setattr(mounts, "_mount_table", lambda: "another one")
    tree.monitor.tick()
    assert tree.get(b"a") is None


@pytest.mark.parametrize(
    "tracking",
    [mounts.ChangeTracking.STATE, mounts.ChangeTracking.NONE],
    ids=lambda each: each.name,
)
def test_nothing_is_known_where_not_every_change_makes_an_event(tree, monkeypatch, tracking):
    monkeypatch.setattr(mounts.Mounts, "tracking_of", lambda self, device: tracking)
    assert tree.learn() is None
    assert tree.watches == 0


def test_nothing_is_known_where_names_are_normalized(tree, monkeypatch):
    monkeypatch.setattr(mounts, "_NORMALIZING", frozenset({"ext4", "tmpfs", "xfs", "ext3", "ext2"}))
    assert tree.learn() is None


def test_nothing_is_known_of_a_directory_that_ignores_case(tree, monkeypatch):
    """Such as one on XFS with ascii-ci: ONE is not among its entries, and opens one."""
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path, **options: lstat(path.swapcase(), **options))
    assert tree.learn() is None
    assert tree.watches == 0


def test_nothing_is_known_of_a_directory_that_folds_case(tree, monkeypatch):
    """As chattr +F makes it on ext4, f2fs and tmpfs."""

    def flags(descriptor, request, buffer):
        buffer[:] = (0x4000_0000).to_bytes(8, sys.byteorder)

    monkeypatch.setattr(fcntl, "ioctl", flags)
    assert tree.learn() is None


def test_many_directories_are_bounded(tree, monkeypatch):
    monkeypatch.setattr(watched_directories, "_MIN_LOOKUPS_WHEN_FULL", 3)
    monkeypatch.setattr(watched_directories, "_MAX_DIRECTORIES", 10)
    for number in range(50):
        (tree.root / f"d{number}").mkdir()
        assert tree.learn(f"d{number}".encode())
        assert tree.watches == len(tree.directories._by_path) <= 10
    assert tree.get(b"d49")
    assert not tree.get(b"d0")


def test_where_it_is_full_a_directory_must_be_used_more_often(tree, monkeypatch):
    monkeypatch.setattr(watched_directories, "_MAX_DIRECTORIES", 2)
    assert tree.learn(b"a")
    (tree.root / "c").mkdir()
    assert not tree.learn(b"c")
    tree.count(b"c", watched_directories._MIN_LOOKUPS_WHEN_FULL)
    tree.run_jobs()
    assert tree.get(b"c")
    assert not tree.get(b"a")


def test_they_use_a_part_of_the_watches_alone(place):
    tree = Tree(place, max_watches=16)
    (place / "a" / "b").mkdir(parents=True)
    assert tree.learn(b"a/b") is None  # three watches of two
    assert tree.watches == 0
    assert tree.learn(b"a") is not None
    tree.close()


def test_names_take_a_bounded_number_of_bytes(tree, monkeypatch):
    monkeypatch.setattr(watched_directories, "_MAX_BYTES", 20_000)
    tree.learn(b"a/b")
    assert tree.learn(b"a")
    for number in range(200):
        (tree.root / "a" / f"{number}").touch()
        tree.get(b"a")
    assert tree.get(b"a") is None
    assert tree.directories._size <= 20_000
    monkeypatch.setattr(directory_names, "_MAX_ENTRIES_SIZE", 100)
    assert tree.learn(b"a") is None
    assert not tree.jobs


def test_names_of_a_large_directory_are_read_after_more_files(tree, monkeypatch):
    for number in range(300):
        (tree.root / f"{number:0200}").touch()
    monkeypatch.setattr(watched_directories, "_SIZE_FOR_A_LOOKUP", 500)
    due = os.stat(tree.root).st_size // 500
    assert due > 2 * watched_directories._MIN_LOOKUPS
    tree.count(times=due - 1)
    assert not tree.jobs
    tree.count(times=1)
    tree.run_jobs()
    assert len(tree.get().entries) == 303


def test_directories_are_not_watched_for_each_file_while_the_threads_are_busy(tree):
    tree.directories.start(lambda *job: False)
    tree.count()
    generation = tree.monitor.generation()
    tree.count(times=watched_directories._MIN_LOOKUPS - 1)
    assert tree.monitor.generation() == generation
    tree.count(times=1)
    assert tree.monitor.generation() > generation  # tried again


def test_no_descriptor_is_left_open(tree):
    before = len(os.listdir("/proc/self/fd"))
    tree.learn(b"a")
    tree.count(b"none")
    tree.directories.start(lambda *job: False)
    tree.count(b"a/b")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_shared_watch_stays_until_nobody_needs_it(tree):
    class Other:
        needed = True

        def on_changes(self, names):
            pass

        def on_reset(self):
            pass

        def uses(self, watch):
            return self.needed

    other = Other()
    tree.monitor.subscribe(other)
    watch = tree.learn(b"a").watch
    tree.directories._forget(tree.get(b"a"))
    assert tree.watches == 2
    other.needed = False
    generation = tree.monitor.generation()
    tree.monitor.release(watch)
    assert tree.watches == 1
    assert tree.monitor.changed_since([(watch, b"")], generation)


@pytest.fixture
def opened(monkeypatch):
    """Return the paths that are opened, in a list."""
    paths = []
    openat2 = open_beneath.openat2
    monkeypatch.setattr(
        open_beneath,
        "openat2",
        lambda root, path, *how: paths.append(path) or openat2(root, path, *how),
    )
    return paths


def test_names_that_are_not_there_are_not_looked_up(tree, opened):
    files = Directory(tree.root, tree.monitor.mounts, directories=tree.directories)
    (tree.root / "new").touch()
    (tree.root / "new.gz").touch()
    tree.learn()

    def find(*names):
        return files.find(TargetPath(names, is_directory=False), wait=False)

    assert find(b"one")
    opened.clear()
    assert len(find(b"one").representations) == 1
    assert opened == [b"one"]
    assert [each.coding for each in find(b"new").representations] == ["identity", "gzip"]
    assert opened[1:] == [b"new", b"new.gz"]
    with pytest.raises(HttpError, match="Nothing is here"):
        find(b"none")
    assert not opened[3:]
    (tree.root / "none").touch()
    assert find(b"none")


def test_a_directory_without_an_index_is_known_without_a_look_up(tree, opened):
    files = Directory(tree.root, tree.monitor.mounts, directories=tree.directories)
    tree.learn()
    root = TargetPath((), is_directory=True)
    assert isinstance(files.find(root, wait=False), DirectoryWithoutIndex)
    opened.clear()
    assert isinstance(files.find(root, wait=False), DirectoryWithoutIndex)
    assert not opened
    (tree.root / "index.html").touch()
    assert isinstance(files.find(root, wait=False), Document)


def test_files_found_in_a_directory_are_counted_and_no_others(tree):
    files = Directory(tree.root, tree.monitor.mounts, directories=tree.directories)
    for _ in range(10):
        for name in (b"none", b"a"):
            with suppress(HttpError, BlockingIOError):
                files.find(TargetPath((name,), is_directory=False), wait=False)
    with suppress(HttpError, BlockingIOError):
        files.find(TargetPath((b"one",), is_directory=False), wait=True)
    assert not tree.directories._lookups
    with suppress(BlockingIOError):
        files.find(TargetPath((b"one",), is_directory=False), wait=False)
    assert list(tree.directories._lookups.values()) == [(1, 0)]


NAMES = ["a", "b", "c.gz"]
DIRECTORIES = ["", *NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES)]
directories = strategies.sampled_from(["", "", "", "a", "a", "a", "b", "a/b", "a/a", "b/a"])
paths = strategies.builds(os.path.join, directories, strategies.sampled_from(NAMES))


class Lookups(RuleBasedStateMachine):
    """Random changes of a tree beside look-ups: each answer is the one that openat2 gives."""

    def __init__(self):
        super().__init__()
        self.place = place_with_events()
        (self.place / "root" / "a" / "b").mkdir(parents=True)
        self.tree = Tree(self.place / "root")

    def path(self, path):
        return self.place / "root" / path

    @rule(path=paths, kind=strategies.sampled_from(["file", "directory", "link", "hard link"]))
    def create(self, path, kind):
        path = self.path(path)
        with suppress(OSError):
            if kind == "file":
                path.touch()
            elif kind == "directory":
                path.mkdir()
            elif kind == "link":
                path.symlink_to("a" if path.name != "a" else "b")
            else:
                os.link(self.path("c.gz"), path)

    @rule(path=paths)
    def remove(self, path):
        path = self.path(path)
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    @rule(old=paths, new=paths)
    def rename(self, old, new):
        with suppress(OSError):
            self.path(old).rename(self.path(new))

    @rule(old=paths, new=paths)
    def exchange(self, old, new):
        places = [os.fsencode(self.path(path)) for path in (old, new)]
        ctypes.CDLL(None).renameat2(-100, places[0], -100, places[1], 2)  # RENAME_EXCHANGE

    @rule(path=paths)
    def change_status(self, path):
        with suppress(OSError):
            self.path(path).chmod(0o755)

    @rule()
    def replace_root(self):
        root = self.place / "root"
        if not (self.place / "old").exists():
            root.rename(self.place / "old")
            root.mkdir()
        else:
            root.rename(self.place / "new")
            (self.place / "old").rename(root)
            (self.place / "new").rename(self.place / "old")

    @rule()
    def reset(self):
        self.tree.monitor.reset()

    @rule(path=directories)
    def begin_to_read(self, path):
        self.tree.directories._lookups.clear()  # none is one that could not be read before
        with suppress(OSError):
            os.stat(self.path(path))
        self.tree.get(os.fsencode(path))
        self.tree.count(os.fsencode(path))

    @rule()
    def read_names(self):
        self.tree.read_names()

    @rule()
    def finish_reading(self):
        self.tree.finish()

    @rule(path=directories)
    def read_at_once(self, path):
        self.begin_to_read(path)
        self.tree.run_jobs()

    @invariant()
    def every_answer_is_that_of_the_kernel(self):
        root_fd = open_directory(os.fsencode(self.place / "root"), wait=True)
        try:
            for directory in DIRECTORIES:
                known = self.tree.get(os.fsencode(directory))
                for name in NAMES if known else ():
                    path = os.fsencode(os.path.join(directory, name))
                    kind = known.entries.get(os.fsencode(name))
                    assert kind is not None or not opens(root_fd, path)
                    if kind == TYPE_FILE:  # which is then opened without asking what it is
                        assert os.path.isfile(self.place / "root" / os.fsdecode(path))
        finally:
            os.close(root_fd)

    def teardown(self):
        self.tree.close()
        shutil.rmtree(self.place)


def opens(root_fd, path):
    try:
        descriptor = open_beneath.open_beneath(root_fd, path, wait=True)
    except OSError as error:
        return error.errno not in {errno.ENOENT, errno.ENOTDIR}
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


TestLookups = Lookups.TestCase
TestLookups.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
