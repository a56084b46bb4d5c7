"""What a worker sets for its whole process."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserve.compression.background import Background
from aserve.config.settings import Settings
from aserve.server import process
from aserve.server.embedded import Server
from aserve.server.model_worker import ModelWorker


@pytest.fixture(autouse=True)
def usual_interval() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_a_thread_gives_the_interpreter_away_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []
    monkeypatch.setattr(asyncio, "Runner", lambda **_: found.append(sys.getswitchinterval()))
    with pytest.raises(TypeError):  # it is no context manager
        process.serve(Settings(tmp_path), [], None, set())
    assert found == [pytest.approx(process.SWITCH_INTERVAL_S)]


def test_the_threads_of_a_program_are_left_alone(tmp_path: Path, usual_interval: float) -> None:
    with Server(tmp_path, port=0):
        assert sys.getswitchinterval() == usual_interval


def test_a_reload_stops_what_the_former_settings_do_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Background] = []

    def stop(self: Background) -> None:
        stopped.append(self)

    monkeypatch.setattr(Background, "stop", stop)
    settings = Settings(tmp_path, model="blocking")
    worker = ModelWorker(settings, [], None)
    former = worker._owned.encoder
    worker.prepare(settings)
    assert not stopped  # another part of the reload may still fail
    worker.commit()
    assert former
    assert stopped == [former._background]
    assert worker._owned.encoder
    assert worker._owned.encoder is not former
