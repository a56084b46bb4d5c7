"""Whatever ends a write, and whenever: each file is whole, the old one or the new one."""

import errno
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from aserve.filesystem.writing import errors, temporary
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import (
    anything,
    before_call,
    contents,
    killed_before_call,
    put,
    target,
)

OLD, NEW = b"old" * 1000, b"new!" * 1000
IN_TWO_HOURS = time.time() + 7200

Change = Callable[[Storage], object]


def replace(storage: Storage) -> None:
    put(storage, "folder/a", NEW)


def add(storage: Storage) -> None:
    put(storage, "folder/b", NEW)


def replace_at_once(storage: Storage) -> None:
    put(storage, "folder/a", NEW, at_once=True)


def add_at_once(storage: Storage) -> None:
    put(storage, "folder/b", NEW, at_once=True)


def add_beside(storage: Storage) -> None:
    put(storage, "folder/a", NEW, "rename")


def delete(storage: Storage) -> None:
    storage.delete(target("folder/a"), anything)


def move(storage: Storage) -> None:
    storage.move(target("folder/a"), target("b"), anything)


BEFORE = {"folder/a": OLD}
CHANGES: list[tuple[Change, dict[str, bytes]]] = [
    (replace, {"folder/a": NEW}),
    (replace_at_once, {"folder/a": NEW}),
    (add, {"folder/a": OLD, "folder/b": NEW}),
    (add_at_once, {"folder/a": OLD, "folder/b": NEW}),
    (add_beside, {"folder/a": OLD, "folder/a (1)": NEW}),
    (delete, {}),
    (move, {"b": OLD}),
]


@pytest.fixture(params=["unnamed", "hidden"])
def new_site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """A function that makes a site with one file. hidden: as where O_TMPFILE is not known."""
    if request.param == "hidden":
        monkeypatch.setattr(temporary, "_open_unnamed", lambda _directory: -1)
    numbers = count()

    def make() -> Path:
        root = tmp_path / str(next(numbers)) / "site"
        (root / "folder").mkdir(parents=True)
        (root / "folder/a").write_bytes(OLD)
        return root

    return make


def fail() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_an_error_of_each_system_call(
    new_site: Callable[[], Path], change: Change, after: dict[str, bytes]
) -> None:
    """All that was there is there, or all that was to be; no descriptor stays open."""
    for number in count():
        root = new_site()
        storage = Storage(root)
        descriptors = len(os.listdir("/proc/self/fd"))
        with before_call(number, fail) as calls, suppress(errors.WriteError):
            change(storage)
        if len(calls) <= number:
            break
        assert calls[number] == "close" or len(os.listdir("/proc/self/fd")) == descriptors
        storage.sweep(IN_TWO_HOURS)
        assert contents(root) in [BEFORE, after], calls
    assert contents(root) == after
    assert number > 5


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_a_kill_before_each_system_call(
    new_site: Callable[[], Path], change: Change, after: dict[str, bytes]
) -> None:
    """Nothing is left to be swept but hidden files, and those without a name not even that."""
    for number in count():
        root = new_site()
        with killed_before_call(number, root) as calls:
            change(Storage(root))
        if len(calls) <= number:
            break
        Storage(root).sweep(IN_TWO_HOURS)
        assert contents(root) in [BEFORE, after]
    assert contents(root) == after
    assert number > 5


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_a_link_takes_the_place_of_the_directory_before_each_system_call(
    new_site: Callable[[], Path], change: Change, after: dict[str, bytes]
) -> None:
    """The file is written to the directory, wherever that is now, or nowhere; never outside."""
    for number in count():
        root = new_site()
        outside = root.parent / "outside"
        outside.mkdir()
        (outside / "a").write_bytes(b"theirs")

        def swap(root: Path = root, outside: Path = outside) -> None:
            (root / "folder").rename(root / "moved")
            (root / "folder").symlink_to(outside)

        with before_call(number, swap) as calls, suppress(errors.WriteError):
            change(Storage(root))
        assert contents(outside) == {"a": b"theirs"}
        if len(calls) <= number:
            break
        found = {path.replace("moved", "folder"): data for path, data in contents(root).items()}
        assert found in [BEFORE, after]
    assert contents(root) == after


def test_a_link_takes_the_place_of_a_directory_of_a_tree(new_site: Callable[[], Path]) -> None:
    """As rm -r once could be led astray."""
    for number in count():
        root = new_site()
        outside = root.parent / "outside"
        outside.mkdir()
        (outside / "a").write_bytes(b"theirs")
        (root / "folder").rename(root / "inner")
        (root / "folder").mkdir()
        (root / "inner").rename(root / "folder/inner")

        def swap(root: Path = root, outside: Path = outside) -> None:
            inner = root / "folder/inner"
            if inner.exists():
                inner.rename(root / "moved")
                inner.symlink_to(outside)

        with before_call(number, swap) as calls, suppress(errors.WriteError):
            Storage(root).delete(target("folder"), anything, tree=True)
        assert contents(outside) == {"a": b"theirs"}
        if len(calls) <= number:
            break
    assert contents(root) == {}


PATHS = ("a", "b", "folder/c", "folder/d")
RUN_S = 30


def whole(version: int, size: int) -> bytes:
    """Return bytes that show whether they are all there, and of one version."""
    return b"%08d %08d " % (version, size) + bytes([version % 256]) * size


def is_whole(data: bytes) -> bool:
    version, size = data[:18].split()
    return data == whole(int(version), int(size))


def upload_forever(root: Path, seed: int) -> None:
    storage, randomly = Storage(root), random.Random(seed)
    for version in count():
        data = whole(version, randomly.randrange(200_000))
        file = storage.begin(target(randomly.choice(PATHS)))
        for start in range(0, len(data), 16_384):
            file.write(data[start : start + 16_384])
        file.commit(anything)
        if not randomly.randrange(8):
            with suppress(errors.Missing):  # the one before was killed in between
                storage.delete(target("a"), anything)


@pytest.mark.slow
@pytest.mark.parametrize("fallback", [False, True])
def test_kill_9_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fallback: bool
) -> None:
    """A thousand times, or as often as half a minute allows."""
    if fallback:
        monkeypatch.setattr(temporary, "_open_unnamed", lambda _directory: -1)
    (tmp_path / "folder").mkdir()
    randomly, ends_at = random.Random(18), time.monotonic() + RUN_S / 2
    for seed in range(500):
        pid = os.fork()
        if not pid:
            try:
                upload_forever(tmp_path, seed)
            finally:
                os._exit(1)
        time.sleep(randomly.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        assert all(
            is_whole(data)
            for path, data in contents(tmp_path).items()
            if not Path(path).name.startswith(".aserve-upload-")
        )
        if time.monotonic() > ends_at:
            break
    Storage(tmp_path).sweep(IN_TWO_HOURS)
    assert all(map(is_whole, contents(tmp_path).values()))


@pytest.mark.slow
def test_directories_become_links_all_the_time(tmp_path: Path) -> None:
    """For half a minute; what is outside stays as it is."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root / "folder/inner", outside / "inner"):
        directory.mkdir(parents=True)
        (directory / "theirs").write_bytes(OLD)
    before = contents(outside)
    stopped = threading.Event()

    def swap() -> None:
        while not stopped.is_set():
            (root / "folder").rename(root / "moved")
            (root / "folder").symlink_to(outside)
            (root / "folder").unlink()
            (root / "moved").rename(root / "folder")

    thread = threading.Thread(target=swap)
    thread.start()
    storage = Storage(root, fsync=False)
    changes: list[Change] = [
        lambda storage: put(storage, "folder/inner/a", NEW),
        lambda storage: storage.move(target("folder/inner/a"), target("folder/b"), anything),
        lambda storage: storage.make_directory(target("folder/tree")),
        lambda storage: put(storage, "folder/tree/c", NEW),
        lambda storage: storage.delete(target("folder/tree"), anything, tree=True),
        lambda storage: storage.delete(target("folder/b"), anything),
    ]
    ends_at = time.monotonic() + RUN_S
    try:
        while time.monotonic() < ends_at:
            for change in changes:
                with suppress(errors.WriteError):
                    change(storage)
            assert contents(outside) == before
    finally:
        stopped.set()
        thread.join()
    put(storage, "folder/inner/a", NEW)
    assert contents(root)["folder/inner/a"] == NEW
    assert contents(root)["folder/inner/theirs"] == OLD
