"""What one thread or process has seen of a name is what it changes."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from aserve.filesystem.writing import errors, locks
from aserve.filesystem.writing.storage import Storage
from tests.aserve.filesystem.writing.storages import anything, contents, put, target

TIMES = 40


def increment(root: Path) -> None:
    """Add 1 to the number in a file as a client does with If-Match: read, write, or try again."""
    storage = Storage(root, fsync=False)
    for _ in range(TIMES):
        while not try_to_increment(storage, root / "number"):
            pass


def try_to_increment(storage: Storage, path: Path) -> bool:
    value = path.read_bytes()
    file = storage.begin(target("number"))
    file.write(b"%d" % (int(value) + 1))

    def check(_status: os.stat_result | None) -> None:
        if path.read_bytes() != value:
            raise errors.Exists

    try:
        file.commit(check)
    except errors.Exists:
        return False
    return True


def fork_to_increment(root: Path) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            increment(root)
            code = 0
        finally:
            os._exit(code)
    return pid


@pytest.mark.slow
def test_no_change_by_threads_and_processes_is_lost(tmp_path: Path) -> None:
    (tmp_path / "number").write_bytes(b"0")
    pids = [fork_to_increment(tmp_path) for _ in range(2)]
    threads = [threading.Thread(target=increment, args=(tmp_path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert (tmp_path / "number").read_bytes() == b"%d" % (4 * TIMES)


def is_locked(directory: Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_the_directory_is_locked_while_the_guard_is_asked_about_what_is_there(
    tmp_path: Path,
) -> None:
    seen: list[bool] = []

    def look(_status: os.stat_result | None) -> None:
        seen.append(is_locked(tmp_path))
        seen.append(is_locked(tmp_path / "b"))

    storage = Storage(tmp_path)
    storage.make_directory(target("b"))
    storage.begin(target("a")).commit(look)
    storage.begin(target("a")).commit(look)
    storage.move(target("a"), target("b/a"), look)
    storage.delete(target("b/a"), look)
    assert seen == [False, False, True, False, True, True, False, True]
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "b")


def test_a_directory_that_another_program_has_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is replaced; a new name takes no lock, since the kernel decides about it."""
    monkeypatch.setattr(locks, "_TIMEOUT_S", 0)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    put(Storage(tmp_path), "a", b"old")
    with pytest.raises(errors.Busy):
        put(Storage(tmp_path), "a", b"new")
    assert contents(tmp_path) == {"a": b"old"}
    os.close(descriptor)
    put(Storage(tmp_path), "a", b"new")
    assert contents(tmp_path) == {"a": b"new"}


def test_a_file_system_that_cannot_lock_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over NFS: the lock of this process remains."""

    def fail(_descriptor: int, _operation: int) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", fail)
    storage = Storage(tmp_path)
    put(storage, "a", b"old")
    put(storage, "a", b"new")
    storage.delete(target("a"), anything)
    assert contents(tmp_path) == {}
