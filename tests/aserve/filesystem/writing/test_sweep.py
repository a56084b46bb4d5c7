"""What uploads that never ended have left goes after an hour, and nothing else does."""

import logging
import os
import threading
from pathlib import Path

import pytest

from aserve.filesystem.writing import temporary
from aserve.filesystem.writing.errors import StorageFailed
from aserve.filesystem.writing.storage import Storage
from aserve.filesystem.writing.sweep import Sweeper
from tests.aserve.filesystem.writing.storages import anything, contents, target

NOW = 1_000_000_000
LEFT = ".aserve-upload-0123456789abcdef"


def leave(path: Path, age: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (NOW - age, NOW - age))


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    for path, age in ((LEFT, 3601), (f"a/{LEFT}", 3601), (f"b/{LEFT}", 3599), ("c", 4000)):
        leave(tmp_path / path, age)
    (tmp_path / "a/.aserve-upload-link").symlink_to(tmp_path / "c")
    (tmp_path / "a/.aserve-upload-folder").mkdir()
    os.mkfifo(tmp_path / "a/.aserve-upload-pipe")
    os.utime(tmp_path / "a/.aserve-upload-pipe", (0, 0))
    assert Storage(tmp_path).sweep(NOW) == 2
    assert contents(tmp_path) == {f"b/{LEFT}": b"half", "c": b"half"}


def test_an_upload_under_way_is_spared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its client has sent nothing."""
    monkeypatch.setattr(temporary, "_open_unnamed", lambda _directory: -1)
    storage = Storage(tmp_path)
    file = storage.begin(target("a"))
    (hidden,) = tmp_path.iterdir()
    os.utime(hidden, (0, 0))
    assert Storage(tmp_path).sweep(NOW) == 0
    file.write(b"whole")
    file.commit(anything)
    assert contents(tmp_path) == {"a": b"whole"}


class Recorder:
    def __init__(self, *outcomes: int | Exception) -> None:
        self.outcomes = list(outcomes)
        self.times: list[float] = []

    def sweep(self, now: float) -> int:
        self.times.append(now)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_at_the_start_and_each_hour(caplog: pytest.LogCaptureFixture) -> None:
    """An error of one hour is told, and the next hour is not missed."""
    caplog.set_level(logging.INFO, "aserve")
    storage, done, waits = Recorder(0, StorageFailed(), 2), threading.Event(), []
    clock = iter((1.0, 2.0, 3.0))

    def wait(stopped: threading.Event, seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            sweeper.stop()
            done.set()
        return stopped.is_set()

    sweeper = Sweeper([storage], lambda: next(clock), wait)
    sweeper.start()
    done.wait()
    assert storage.times == [1.0, 2.0, 3.0]
    assert waits == [3600] * 3
    assert caplog.messages == [
        "unfinished uploads could not be removed: The disk reported an error.",
        "removed 2 files of uploads that never ended",
    ]


def test_nothing_to_sweep() -> None:
    sweeper = Sweeper([])
    sweeper.start()
    sweeper.stop()
    sweeper.stop()
