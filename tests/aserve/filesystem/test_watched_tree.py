"""What changes below a directory: by events, and where there are none, by comparing."""

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserve.filesystem import tree_watch, watched_tree
from aserve.filesystem.debounce import Debounce
from aserve.filesystem.mounts import ChangeTracking
from aserve.filesystem.tree_entries import State, entry_state
from aserve.filesystem.tree_watch import TreeWatch
from aserve.filesystem.visibility import Symlinks, Visibility
from aserve.filesystem.watched_tree import WatchedTree

TIMEOUT = 20.0
MODES = [ChangeTracking.EVENTS, ChangeTracking.STATE]


class FakeMounts:
    """Mounted file systems that all report changes in one way."""

    def __init__(self, tracking: ChangeTracking) -> None:
        self.tracking = tracking
        self.have_changed = False

    def tracking_of(self, _device: int) -> ChangeTracking:
        return self.tracking

    def refresh(self) -> bool:
        have_changed, self.have_changed = self.have_changed, False
        return have_changed


def make_tree(
    root: Path,
    tracking: ChangeTracking = ChangeTracking.EVENTS,
    symlinks: Symlinks = Symlinks.INSIDE,
    max_watches: int | None = None,
) -> WatchedTree:
    tree = WatchedTree(
        {b"": os.fsencode(root)},
        FakeMounts(tracking),
        Visibility(symlinks=symlinks),
        max_watches=max_watches,
    )
    tree.scan()
    return tree


def changes(tree: WatchedTree) -> set[bytes] | None:
    """Return what has changed: the kernel has queued each event before a change returned."""
    while tree._watches._inotify.has_changes():
        tree.read_events()
    tree.compare()
    return tree.take_changes()


def known(tree: WatchedTree) -> set[bytes]:
    return {
        directory.child(name)[0]
        for directory in tree._directories.values()
        for name in directory.states
    }


def existing(root: Path) -> set[bytes]:
    return {os.fsencode(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "index.html").write_text("one")
    (root / "sub" / "a.css").write_text("one")
    (root / "sub" / "deep" / "b.css").write_text("one")
    return root


@pytest.fixture(params=MODES, ids=lambda mode: mode.name)
def tree(root: Path, request: pytest.FixtureRequest) -> Iterator[WatchedTree]:
    tree = make_tree(root, request.param)
    yield tree
    tree.close()


def save(path: Path, text: str) -> None:
    temporary = path.with_name("temporary")
    temporary.write_text(text)
    temporary.replace(path)


def replace_directory(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()
    (path / "a.css").write_text("another")


CHANGES: list[tuple[str, Callable[[Path], object], set[bytes]]] = [
    ("nothing", lambda root: (root / "index.html").read_text(), set()),
    ("new", lambda root: (root / "new.html").write_text("new"), {b"new.html"}),
    ("written", lambda root: (root / "index.html").write_text("other"), {b"index.html"}),
    ("saved", lambda root: save(root / "sub" / "a.css", "other"), {b"sub/a.css"}),
    ("touched", lambda root: os.utime(root / "index.html", (1, 1)), {b"index.html"}),
    ("removed", lambda root: (root / "sub" / "deep" / "b.css").unlink(), {b"sub/deep/b.css"}),
    ("renamed", lambda root: (root / "index.html").rename(root / "x"), {b"index.html", b"x"}),
    ("made", lambda root: (root / "new" / "deep").mkdir(parents=True), {b"new/"}),
    ("moved", lambda root: (root / "sub").rename(root / "other"), {b"sub/", b"other/"}),
    ("moved out", lambda root: (root / "sub").rename(root.parent / "sub"), {b"sub/"}),
    ("removed all", lambda root: shutil.rmtree(root / "sub" / "deep"), {b"sub/deep/"}),
    ("replaced", lambda root: replace_directory(root / "sub"), {b"sub/"}),
]


@pytest.mark.parametrize(("name", "change", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_each_change_is_noticed_and_those_after_it(
    tree: WatchedTree, root: Path, name: str, change: Callable[[Path], object], expected: set[bytes]
) -> None:
    change(root)
    found = changes(tree)
    assert found is not None
    # Beside a directory, or in its place, what was or is in it may be named.
    assert all(any(path.startswith(one) for one in expected) for path in found)
    assert all(any(path.startswith(one) for path in found) for one in expected)
    assert known(tree) == existing(root)
    for directory in [root, *filter(Path.is_dir, root.rglob("*"))]:
        path = directory / "later.css"
        path.write_text(name)
        assert changes(tree) == {os.fsencode(path.relative_to(root))}


@pytest.mark.parametrize(
    "name",
    [
        *(".git/HEAD", "node_modules/x/index.js", "index.html~", ".#index.html", "4913"),
        *(".index.html.swp", ".index.html.swx", "index.html.swp", ".env", ".hidden/x"),
    ],
)
def test_what_editors_leave_and_what_is_hidden_is_no_change(
    tree: WatchedTree, root: Path, name: str
) -> None:
    for text in ("one", "two two"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        assert changes(tree) == set()


def test_a_file_that_comes_and_goes_is_no_change(tree: WatchedTree, root: Path) -> None:
    (root / "temporary").write_text("x")
    if tree.fileno() >= 0 and not tree._compared:
        tree.read_events()  # noticed, and not told yet
    (root / "temporary").unlink()
    assert changes(tree) == set()


def test_no_client_is_told_of_what_links_do_not_let_it_have(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("one")
    for name, target in {"out": "../outside", "key": "id_rsa", "link": "sub"}.items():
        (root / name).symlink_to(target)
    hide = Visibility(["sub/secret"])
    roots = {b"": os.fsencode(root)}
    tree = WatchedTree(roots, FakeMounts(ChangeTracking.EVENTS), hide)
    tree.scan()
    for name in ("id_rsa", "sub/secret", "../outside"):
        (root / name).write_text("two")
        assert changes(tree) == set()
    (root / "sub" / "open").write_text("two")
    assert changes(tree) == {b"sub/open", b"link/open"}
    tree.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_link_to_a_file_changes_with_it(root: Path, tmp_path: Path, mode: ChangeTracking) -> None:
    tree = make_tree(root, mode, Symlinks.ALL)
    (tmp_path / "outside.css").write_text("one")
    (root / "link.css").symlink_to(tmp_path / "outside.css")
    assert changes(tree) == {b"link.css"}
    (tmp_path / "outside.css").write_text("other")
    assert changes(tree) == {b"link.css"}
    (tmp_path / "outside.css").unlink()
    assert changes(tree) == {b"link.css"}
    assert changes(tree) == set()
    (tmp_path / "outside.css").write_text("again")
    assert changes(tree) == {b"link.css"}
    tree.close()


def test_a_linked_directory_changes_under_both_names(tree: WatchedTree, root: Path) -> None:
    (root / "link").symlink_to("sub")
    assert changes(tree) == {b"link/"}
    (root / "sub" / "a.css").write_text("other")
    assert changes(tree) == {b"sub/a.css", b"link/a.css"}
    replace_directory(root / "sub")
    assert {b"sub", b"link"} <= {path.split(b"/")[0] for path in changes(tree) or ()}
    (root / "sub" / "a.css").write_text("once more")
    assert changes(tree) == {b"sub/a.css", b"link/a.css"}


@pytest.mark.parametrize("symlinks", Symlinks)
def test_a_link_out_of_the_site_is_followed_where_requests_follow_it(
    root: Path, tmp_path: Path, symlinks: Symlinks
) -> None:
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    tree = make_tree(root, symlinks=symlinks)
    (tmp_path / "outside" / "x.css").write_text("one")
    expected = {b"link/x.css"} if symlinks is Symlinks.ALL else set()
    assert changes(tree) == expected
    tree.close()


def test_a_link_to_what_is_hidden_is_not_followed(root: Path) -> None:
    (root / ".git").mkdir()
    (root / "link").symlink_to(".git")
    tree = make_tree(root)
    (root / ".git" / "HEAD").write_text("x")
    assert changes(tree) == set()
    tree.close()


def test_links_in_a_circle_end(root: Path) -> None:
    (root / "up").symlink_to(".")
    (root / "sub" / "up").symlink_to("..")
    (root / "sub" / "deep" / "aside").symlink_to("../../other")
    (root / "other").mkdir()
    (root / "other" / "back").symlink_to("../sub")
    tree = make_tree(root)
    (root / "sub" / "deep" / "b.css").write_text("other")
    assert b"sub/deep/b.css" in (changes(tree) or ())
    tree.close()


def test_a_replaced_root_is_another_site(tree: WatchedTree, root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "old")
    assert changes(tree) is None
    assert changes(tree) == set()
    root.mkdir()
    assert changes(tree) is None
    (root / "new.html").write_text("new")
    assert changes(tree) == {b"new.html"}


def test_a_root_that_is_a_link_may_be_switched(root: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    current = tmp_path / "current"
    current.symlink_to(root)
    tree = make_tree(current)
    (tmp_path / "next").symlink_to(tmp_path / "second")
    (tmp_path / "next").replace(current)
    assert changes(tree) is None
    (tmp_path / "second" / "x.html").write_text("x")
    assert changes(tree) == {b"x.html"}
    tree.close()


def test_several_roots_have_names_of_their_own(root: Path, tmp_path: Path) -> None:
    """One of them may be a file, and one be in the place of what another one has there."""
    (tmp_path / "other").mkdir()
    (tmp_path / "file.css").write_text("one")
    roots = {b"": root, b"sub/deep": tmp_path / "other", b"file.css": tmp_path / "file.css"}
    tree = WatchedTree(
        {path: os.fsencode(location) for path, location in roots.items()},
        FakeMounts(ChangeTracking.EVENTS),
        Visibility(),
    )
    tree.scan()
    (root / "sub" / "deep" / "b.css").write_text("unseen")
    assert changes(tree) == set()
    (tmp_path / "other" / "x.css").write_text("one")
    (tmp_path / "file.css").write_text("other")
    (root / "index.html").write_text("other")
    assert changes(tree) == {b"sub/deep/x.css", b"file.css", b"index.html"}
    assert changes(tree) == set()
    shutil.rmtree(root / "sub" / "deep")
    replace_directory(root / "sub")
    assert {path.split(b"/")[0] for path in changes(tree) or ()} == {b"sub"}
    (tmp_path / "other" / "x.css").write_text("other")
    assert changes(tree) == {b"sub/deep/x.css"}
    (tmp_path / "file.css").unlink()
    assert changes(tree) is None
    tree.close()


def test_a_mount_over_a_directory_may_change_everything(tree: WatchedTree) -> None:
    tree._mounts.have_changed = True  # somewhere else
    assert changes(tree) == set()
    tree._mounts.have_changed = True
    tree._directories[b"sub"].identity = 0, 0  # as if it had been another one before
    assert changes(tree) is None
    assert changes(tree) == set()


def test_a_flood_of_changes_changes_everything(root: Path) -> None:
    tree = make_tree(root)
    for number in range(900):  # three events each; 2,048 without a long name are a flood
        (root / f"{number}.html").write_text("x")
    assert changes(tree) is None
    assert known(tree) == existing(root)
    (root / "1.html").write_text("other")
    assert changes(tree) == {b"1.html"}
    tree.close()


def test_directories_without_a_watch_are_compared(root: Path) -> None:
    tree = make_tree(root, max_watches=1)
    assert tree.is_compared
    for name in ("index.html", "sub/a.css", "sub/deep/b.css"):
        (root / name).write_text("other")
        assert changes(tree) == {name.encode()}
    tree.close()


def test_without_inotify_all_is_compared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError

    monkeypatch.setattr("aserve.filesystem.directory_watches.Inotify", fail)
    tree = make_tree(root)
    assert (tree.fileno(), tree.is_compared) == (-1, True)
    (root / "index.html").write_text("other")
    tree.compare()
    assert tree.take_changes() == {b"index.html"}
    tree.close()


@pytest.mark.parametrize("tracking", MODES, ids=lambda mode: mode.name)
def test_nothing_is_lost_while_directories_are_made(root: Path, tracking: ChangeTracking) -> None:
    """Each is watched before it is read: what is not in one of both is in the other."""
    tree = make_tree(root, tracking)

    def build() -> None:
        for number in range(200):
            directory = root / f"{number % 7}" / f"{number}" / "deep"
            directory.mkdir(parents=True)
            (directory / "file").write_text("x")
            if number % 3 == 0:
                directory.rename(directory.with_name("moved"))

    builder = threading.Thread(target=build)
    builder.start()
    while builder.is_alive():
        changes(tree)
    builder.join()
    changes(tree)
    assert known(tree) == existing(root)
    (root / "3" / "3" / "moved" / "file").write_text("other")
    assert changes(tree) == {b"3/3/moved/file"}
    tree.close()


def test_what_goes_while_a_directory_is_read_is_not_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "going").write_text("x")

    def remove_first(location: bytes) -> State:
        if location.endswith(b"/going"):
            (root / "going").unlink(missing_ok=True)
        return entry_state(location)

    monkeypatch.setattr(watched_tree, "entry_state", remove_first)
    tree = make_tree(root, ChangeTracking.STATE)
    assert known(tree) == existing(root)
    tree.close()


names = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a"])
steps = st.lists(st.tuples(st.sampled_from(["write", "make", "move", "remove"]), names, names))


@settings(max_examples=40)
@given(steps, st.sampled_from(MODES), st.booleans())
def test_after_any_steps_each_file_is_known_and_watched(
    steps: list[tuple[str, str, str]], tracking: ChangeTracking, reads_each: bool
) -> None:
    with TemporaryDirectory() as directory:
        root = Path(directory)
        tree = make_tree(root, tracking)
        for action, name, other in steps:
            try:
                act(action, root / name, root / other)
            except OSError:
                continue  # it is no such step: a file is where a directory should be
            if reads_each:
                changes(tree)
        changes(tree)
        assert known(tree) == existing(root)
        for path in filter(Path.is_file, root.rglob("*")):
            path.write_text(path.read_text() + "x")
            assert changes(tree) == {os.fsencode(path.relative_to(root))}
        tree.close()


def act(action: str, path: Path, other: Path) -> None:
    if action == "write":
        path.write_text(path.read_text() + "x" if path.exists() else "")
    elif action == "make":
        path.mkdir()
    elif action == "move":
        path.rename(other)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# The burst of a save, and the thread.


def test_a_burst_is_over_after_a_quiet_time() -> None:
    debounce = Debounce(quiet=0.05, longest=1.0)
    assert debounce.remaining(100.0) is None
    debounce.note(100.0)
    assert debounce.remaining(100.0) == pytest.approx(0.05)
    debounce.note(100.04)
    assert debounce.remaining(100.06) == pytest.approx(0.03)
    assert debounce.remaining(100.09) == 0.0
    debounce.reset()
    assert debounce.remaining(101.0) is None


def test_a_burst_without_an_end_is_over_after_a_while() -> None:
    debounce = Debounce(quiet=0.05, longest=1.0)
    for tick in range(99):
        debounce.note(100.0 + tick / 100)
        assert debounce.remaining(100.0 + tick / 100) != 0.0
    debounce.note(101.0)
    assert debounce.remaining(101.0) == 0.0


@pytest.fixture(params=MODES, ids=lambda mode: mode.name)
def published(
    root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator["queue.Queue[set[bytes]]"]:
    monkeypatch.setattr(tree_watch, "INTERVAL", 0.01)
    published: queue.Queue[set[bytes]] = queue.Queue()
    ready = threading.Event()
    tree = WatchedTree({b"": os.fsencode(root)}, FakeMounts(request.param), Visibility())
    watch = TreeWatch(tree, published.put, ready.set)
    watch.start()
    assert ready.wait(TIMEOUT)
    yield published
    watch.stop()
    watch.stop()
    assert not watch._thread.is_alive()
    assert published.empty()


def test_the_thread_publishes_each_save_once(
    root: Path, published: "queue.Queue[set[bytes]]"
) -> None:
    for number in range(3):
        # One event, and not two with a pause between them: the first name does not count.
        (root / "index.html~").write_text("x" * number)
        (root / "index.html~").replace(root / "index.html")
        assert published.get(timeout=TIMEOUT) == {b"index.html"}


def test_a_watch_that_was_never_started_can_be_stopped(root: Path) -> None:
    tree = WatchedTree({b"": os.fsencode(root)}, FakeMounts(ChangeTracking.EVENTS), Visibility())
    watch = TreeWatch(tree, print)
    watch.stop()
    assert tree.is_closed


def test_an_error_of_the_thread_is_one_line(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    ready = threading.Event()
    tree = WatchedTree({b"": os.fsencode(root)}, FakeMounts(ChangeTracking.EVENTS), Visibility())
    tree.scan = lambda: 1 / 0
    watch = TreeWatch(tree, print, ready.set)
    watch.start()
    assert ready.wait(TIMEOUT)
    watch.stop()
    (message,) = caplog.messages
    assert "ZeroDivisionError" in message
