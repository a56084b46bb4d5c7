"""Files that arrive in several requests: nothing that has arrived is lost or mixed."""

import os
from itertools import count
from pathlib import Path

import pytest

from aserve.filesystem.visibility import Visibility
from aserve.filesystem.writing import errors
from aserve.filesystem.writing.limits import WriteLimits
from aserve.filesystem.writing.partial_files import PartialFile
from aserve.filesystem.writing.storage import Storage
from aserve.http.request_target import TargetPath
from tests.aserve.filesystem.writing.storages import (
    anything,
    contents,
    killed_before_call,
    put,
    target,
)

ROOT = TargetPath((), is_directory=True)
IN = TargetPath((b"in",), is_directory=True)
METADATA = {"type": "text/plain", "name": "\xe4"}


def visible(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(root).items() if ".aserve" not in path}


def begin(storage: Storage, data: bytes = b"12") -> PartialFile:
    file = storage.begin_partial(target("in/a"), 5, METADATA)
    file.write(data)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


def test_a_file_in_three_requests(root: Path) -> None:
    """Each by another process, as after a restart."""
    file = begin(Storage(root))
    file.sync()
    file.abort()
    file = Storage(root).resume(IN, file.token)
    assert (file.size, file.state, file.path) == (2, (b"a", 5, METADATA), target("in/a"))
    file.write(b"345")
    file.abort()
    assert visible(root) == {}
    written = Storage(root).resume(IN, file.token).commit(anything, "error")
    assert written.is_new
    assert contents(root) == {"in/a": b"12345"}
    with pytest.raises(errors.Missing):
        Storage(root).resume(IN, file.token)


def test_one_writer_at_a_time(root: Path) -> None:
    storage = Storage(root)
    file = begin(storage)
    with pytest.raises(errors.Busy):
        storage.resume(IN, file.token)
    file.abort()
    file.abort()
    storage.resume(IN, file.token).abort()


@pytest.mark.parametrize("token", ["", "..", "x", "../" * 7 + "a", "A" * 22, "A" * 21 + "\n"])
def test_tokens_of_nothing(root: Path, token: str) -> None:
    begin(Storage(root)).abort()
    with pytest.raises(errors.Missing):
        Storage(root).resume(IN, token)


def test_another_directory_or_policy_does_not_have_it(root: Path) -> None:
    file = begin(Storage(root))
    file.abort()
    with pytest.raises(errors.Missing):
        Storage(root).resume(ROOT, file.token)
    for hidden in ("a", "in"):
        with pytest.raises(errors.Hidden):
            Storage(root, Visibility([hidden])).resume(IN, file.token)


def test_a_file_that_is_not_complete_or_refused_is_kept(root: Path) -> None:
    storage = Storage(root)
    file = begin(storage)
    file.abort()
    token = file.token
    for change, error in (
        (lambda: storage.resume(IN, token).commit(anything), errors.Incomplete),
        (lambda: storage.resume(IN, token).write(b"3456"), errors.Incomplete),
    ):
        with pytest.raises(error):
            change()
    put(storage, "in/a", b"theirs")
    file = storage.resume(IN, token)
    file.write(b"345")
    with pytest.raises(errors.Exists):
        file.commit(anything, "error")
    assert visible(root) == {"in/a": b"theirs"}
    storage.resume(IN, token).commit(anything, "replace")
    assert contents(root) == {"in/a": b"12345"}


def test_a_size_that_is_told_later(root: Path) -> None:
    storage = Storage(root, limits=WriteLimits(max_upload=3))
    file = storage.begin_partial(ROOT._replace(segments=(b"a",)), None, {})
    file.write(b"12")
    with pytest.raises(errors.TooLarge):
        file.set_size(4)
    file = storage.resume(ROOT, file.token)
    with pytest.raises(errors.Incomplete):
        file.set_size(1)
    file = storage.resume(ROOT, file.token)
    file.set_size(3)
    file.abort()
    file = storage.resume(ROOT, file.token)
    assert file.state.size == 3
    file.write(b"3")
    file.commit(anything)
    assert contents(root) == {"a": b"123"}


def test_what_is_behind_a_wrong_checksum_is_cut_off(root: Path) -> None:
    storage = Storage(root)
    file = begin(storage)
    file.write(b"wrong"[:3])
    file.truncate(2)
    file.write(b"3")
    file.abort()
    file = storage.resume(IN, file.token)
    file.write(b"45")
    file.commit(anything)
    assert contents(root) == {"in/a": b"12345"}


def test_what_is_discarded_leaves_nothing(root: Path) -> None:
    file = begin(Storage(root))
    file.discard()
    assert contents(root) == {}


def test_what_is_refused_leaves_nothing(root: Path) -> None:
    storage = Storage(root, limits=WriteLimits(max_upload=4))
    with pytest.raises(errors.TooLarge):
        storage.begin_partial(target("in/a"), 5, {})
    with pytest.raises(errors.IsDirectory):
        storage.begin_partial(target("in"), 5, {})
    assert contents(root) == {}


def test_what_has_arrived_counts_for_a_quota(root: Path) -> None:
    """And so does its state, of which a client can make many."""
    begin(Storage(root), b"").abort()
    used = sum(map(len, contents(root).values()))
    storage = Storage(root, limits=WriteLimits(quota=2 * used + 10))
    file = begin(storage)
    with pytest.raises(errors.QuotaExceeded):  # 5 are announced
        storage.begin(target("b"), 6)
    file.abort()
    storage.begin(target("b"), 8).abort()
    with pytest.raises(errors.QuotaExceeded):
        storage.begin(target("b"), 9)
    file = storage.resume(IN, file.token)
    storage.begin(target("b"), 5).abort()
    file.discard()
    put(storage, "b", b"1234567890")


def test_it_is_swept_after_a_day(root: Path) -> None:
    storage = Storage(root)
    file = begin(storage)
    file.abort()
    for name in os.listdir(root / "in"):
        os.utime(root / "in" / name, (0, 0))
    file = storage.resume(IN, file.token)
    assert storage.sweep(24 * 3600) == 0  # a client is sending
    file.abort()
    assert storage.sweep(24 * 3600 - 1) == 0
    assert storage.sweep(24 * 3600) == 1
    assert storage.sweep(24 * 3600) == 1  # the state
    assert contents(root) == {}


def test_a_state_that_was_damaged(root: Path) -> None:
    file = begin(Storage(root))
    file.abort()
    (state,) = (root / "in").glob("*.json")
    for text in ("", "{", "[]", '{"name": 1}', '{"name": "../x", "size": null, "metadata": {}}'):
        state.write_text(text)
        with pytest.raises((errors.StorageFailed, errors.InvalidName)):
            Storage(root).resume(IN, file.token)


def test_a_kill_before_each_system_call(tmp_path: Path) -> None:
    """Once begin has returned, all that was written is there until all has its name."""
    for number in count():
        root = tmp_path / str(number)
        (root / "in").mkdir(parents=True)
        file = begin(Storage(root, fsync=False))
        file.abort()
        with killed_before_call(number, root) as calls:
            file = Storage(root, fsync=False).resume(IN, file.token)
            file.write(b"345")
            file.commit(anything)
        if len(calls) <= number:
            break
        if not visible(root):
            file = Storage(root).resume(IN, file.token)
            file.write(b"12345"[file.size :])
            file.commit(anything)
        assert visible(root) == {"in/a": b"12345"}
    assert contents(root) == {"in/a": b"12345"}
    assert number > 5
