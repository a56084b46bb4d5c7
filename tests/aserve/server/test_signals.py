"""Signals to the program, however it was started. Real processes, real signals."""

import os
import pty
import signal
import time
from pathlib import Path

import pytest

from aserve.transport.registry import DEFAULT, MODELS
from tests.aserve.test_cli import aserve, banner, get, stop, url_in
from tests.marks import slow_except

UNAVAILABLE = {
    name: reason for name, info in MODELS.items() if (reason := info.unavailable_reason())
}
MODES = [("--model", name) for name in MODELS]
MODES += [("--workers", "2"), ("--workers", "2", "--model", "epoll")]


QUICK_MODES = [("--model", DEFAULT), ("--workers", "2")]


@pytest.fixture(params=slow_except(MODES, *QUICK_MODES), ids=" ".join)
def mode(request):
    if reason := UNAVAILABLE.get(request.param[-1]):
        pytest.skip(reason)
    return request.param


def pids_of(process):
    """Return the process ids of the program and of its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [process.pid, *map(int, children.split())]


def ignored_signals(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


def test_signals_ignored_at_the_start_stay_ignored(directory, tmp_path, mode):
    numbers = signal.SIGHUP, signal.SIGINT
    arguments = (directory, "--port", 0, *mode, "--access-log", tmp_path / "log")
    with aserve(*arguments, ignored_signals=numbers) as process:
        where = url_in(banner(process))
        for number in numbers * 2:
            for pid in pids_of(process):
                assert number in ignored_signals(pid)
                os.kill(pid, number)
            assert get(where)[0] == 200
        assert stop(process) == (0, "")


def test_sigusr1_without_a_log_kills_no_process(directory, mode):
    with aserve(directory, "--port", 0, *mode) as process:
        where = url_in(banner(process))
        pids = pids_of(process)
        for _ in range(3):
            for pid in pids:
                os.kill(pid, signal.SIGUSR1)
            assert get(where)[0] == 200
        assert set(pids) <= set(pids_of(process))
        assert stop(process) == (0, "")


def line_count(path):
    return path.read_text().count("\n") if path.exists() else 0


def wait_until(condition):
    """Wait for another process; pytest's timeout ends a wait in vain."""
    while not condition():
        time.sleep(0.001)


def test_a_signal_reopens_the_log(directory, tmp_path, mode):
    log = tmp_path / "log"
    with aserve(directory, "--port", 0, *mode, "--access-log", log) as process:
        where = url_in(banner(process))
        for number in (signal.SIGUSR1, signal.SIGHUP):
            get(where)
            wait_until(lambda: line_count(log))
            log.rename(tmp_path / number.name)
            process.send_signal(number)
            wait_until(log.exists)
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert [line_count(tmp_path / name) for name in ("SIGUSR1", "SIGHUP", "log")] == [1, 1, 9]


def test_a_replaced_worker_writes_to_the_new_log(directory, tmp_path):
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    with aserve(directory, "--port", 0, "--workers", 2, "--access-log", log) as process:
        where = url_in(banner(process))
        log.rename(rotated)
        process.send_signal(signal.SIGUSR1)
        wait_until(log.exists)
        for pid in pids_of(process)[1:]:
            os.kill(pid, signal.SIGKILL)
            assert f"worker {pid} ended" in process.stderr.readline()
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert (line_count(rotated), line_count(log)) == (0, 9)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("change", ["renamed", "removed", "replaced"])
def test_a_rotated_log_is_reopened_without_a_signal(directory, tmp_path, workers, change):
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    with aserve(directory, "--port", 0, "--workers", workers, "--access-log", log) as process:
        where = url_in(banner(process))
        get(where)
        wait_until(lambda: line_count(log))
        log.rename(rotated)
        if change == "removed":
            rotated.unlink()
        if change == "replaced":
            log.touch()
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert line_count(log) == 9


@pytest.mark.parametrize("log", slow_except([True, False], True), ids=["log", "no log"])
def test_it_stops_when_its_terminal_is_closed(directory, tmp_path, mode, log):
    options = ("--access-log", tmp_path / "log") if log else ()
    terminal, process_side = pty.openpty()
    arguments = (directory, "--port", 0, *mode, *options)
    with aserve(*arguments, stdin=process_side, terminal=True) as process:
        os.close(process_side)
        get(url_in(banner(process)))
        os.close(terminal)
        assert process.wait(60) == 0


@pytest.mark.parametrize("workers", slow_except([1, 2], 2))
def test_under_nohup_it_outlives_its_terminal(directory, tmp_path, workers):
    terminal, process_side = pty.openpty()
    arguments = (directory, "--port", 0, "--workers", workers, "--access-log", tmp_path / "log")
    started = {"stdin": process_side, "terminal": True, "ignored_signals": [signal.SIGHUP]}
    with aserve(*arguments, **started) as process:
        os.close(process_side)
        where = url_in(banner(process))
        os.close(terminal)
        for _ in range(3):
            assert get(where)[0] == 200
        assert stop(process) == (0, "")


def test_sighup_on_an_open_terminal_reopens_the_log(directory, tmp_path):
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    terminal, process_side = pty.openpty()
    arguments = (directory, "--port", 0, "--access-log", log)
    with aserve(*arguments, stdin=process_side, terminal=True) as process:
        os.close(process_side)
        banner(process)
        log.rename(rotated)
        process.send_signal(signal.SIGHUP)
        wait_until(log.exists)
        assert stop(process) == (0, "")
    os.close(terminal)
