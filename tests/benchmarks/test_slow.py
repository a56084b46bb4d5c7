"""The slow disk of the benchmarks: what is measured with it must really have waited."""

import time
from pathlib import Path

import pytest

from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.http.request_target import parse_path
from aserve.server import files
from benchmarks import slow


def test_files_of_a_site_are_on_the_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "Directory", files.Directory)  # restored after the test
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    (tmp_path / "a").touch()
    slow.use_slow_disk(0.25)
    found = files.build_files(Settings(tmp_path), Mounts())
    with pytest.raises(BlockingIOError):
        found.find(parse_path("/a"), wait=False)
    found.find(parse_path("/a"), wait=True)
    assert slept == [0.25]
