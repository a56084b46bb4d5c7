"""What signals do to the program, whichever way it was started. Real processes, real signals."""

import fcntl
import os
import pty
import signal
import termios
from pathlib import Path

import pytest

from aserve.transport.registry import MODELS
from tests.aserve.test_cli import aserve, banner, get, stop, url_in

WHY_NOT = {name: why for name, row in MODELS.items() if (why := row.unavailable_reason())}
WAYS = [("--model", name) for name in MODELS]
WAYS += [("--workers", "2"), ("--workers", "2", "--model", "epoll")]


@pytest.fixture(params=WAYS, ids=" ".join)
def way(request):
    if why := WHY_NOT.get(request.param[-1]):
        pytest.skip_head(why)
    return request.param


def processes(process):
    """Return the program and its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [process.pid, *map(int, children.split())]


def ignored(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (mask,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


def ignoring(*numbers):
    def prepare():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return prepare


def test_what_is_ignored_at_the_start_stays_so(folder, tmp_path, way):
    both = signal.SIGHUP, signal.SIGINT
    arguments = (folder, "--port", 0, *way, "--access-log", tmp_path / "log")
    with aserve(*arguments, preexec_fn=ignoring(*both)) as process:
        where = url_in(banner(process))
        for number in both * 2:
            for pid in processes(process):
                assert number in ignored(pid)
                os.kill(pid, number)
            assert get(where)[0] == 200
        assert stop(process) == (0, "")


def test_sigusr1_without_a_log_kills_nobody(folder, way):
    with aserve(folder, "--port", 0, *way) as process:
        where = url_in(banner(process))
        before = processes(process)
        for _ in range(3):
            for pid in before:
                os.kill(pid, signal.SIGUSR1)
            assert get(where)[0] == 200
        assert set(before) <= set(processes(process))
        assert stop(process) == (0, "")


def lines_of(path):
    return path.read_text().count("\n") if path.exists() else 0


def until(condition):
    """Wait for what another process does; pytest's timeout ends a wait in vain."""
    while not condition():
        os.sched_yield()


def test_a_signal_opens_the_log_anew(folder, tmp_path, way):
    log = tmp_path / "log"
    with aserve(folder, "--port", 0, *way, "--access-log", log) as process:
        where = url_in(banner(process))
        for number in (signal.SIGUSR1, signal.SIGHUP):
            get(where)
            until(lambda: lines_of(log))
            log.rename(tmp_path / number.name)
            process.send_signal(number)
            until(log.exists)
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert [lines_of(tmp_path / name) for name in ("SIGUSR1", "SIGHUP", "log")] == [1, 1, 9]


def test_a_worker_that_comes_later_writes_to_the_new_log(folder, tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    with aserve(folder, "--port", 0, "--workers", 2, "--access-log", log) as process:
        where = url_in(banner(process))
        log.rename(old)
        process.send_signal(signal.SIGUSR1)
        until(log.exists)
        for pid in processes(process)[1:]:
            os.kill(pid, signal.SIGKILL)
            assert f"worker {pid} ended" in process.stderr.readline()
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert (lines_of(old), lines_of(log)) == (0, 9)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("becomes", ["renamed", "removed", "replaced"])
def test_a_log_is_followed_without_a_signal(folder, tmp_path, workers, becomes):
    log, old = tmp_path / "log", tmp_path / "log.1"
    with aserve(folder, "--port", 0, "--workers", workers, "--access-log", log) as process:
        where = url_in(banner(process))
        get(where)
        until(lambda: lines_of(log))
        log.rename(old)
        if becomes == "removed":
            old.unlink()
        if becomes == "replaced":
            log.touch()
        for _ in range(9):
            get(where)
        assert stop(process) == (0, "")
    assert lines_of(log) == 9


def on_a_terminal(its, *numbers):
    """Return what makes a process the leader of a session on a terminal, as a shell's is."""

    def prepare():
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY)
        ignoring(*numbers)()

    return prepare


@pytest.mark.parametrize("log", [True, False], ids=["log", "no log"])
def test_it_ends_with_its_terminal(folder, tmp_path, way, log):
    options = ("--access-log", tmp_path / "log") if log else ()
    ours, its = pty.openpty()
    arguments = (folder, "--port", 0, *way, *options)
    with aserve(*arguments, preexec_fn=on_a_terminal(its)) as process:
        os.close(its)
        get(url_in(banner(process)))
        os.close(ours)
        assert process.wait(30) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_nohup_outlives_its_terminal(folder, tmp_path, workers):
    ours, its = pty.openpty()
    prepare = on_a_terminal(its, signal.SIGHUP)
    arguments = (folder, "--port", 0, "--workers", workers, "--access-log", tmp_path / "log")
    with aserve(*arguments, preexec_fn=prepare) as process:
        os.close(its)
        where = url_in(banner(process))
        os.close(ours)
        for _ in range(3):
            assert get(where)[0] == 200
        assert stop(process) == (0, "")


def test_sighup_on_an_open_terminal_opens_the_log_anew(folder, tmp_path):
    log, old = tmp_path / "log", tmp_path / "log.1"
    ours, its = pty.openpty()
    arguments = (folder, "--port", 0, "--access-log", log)
    with aserve(*arguments, preexec_fn=on_a_terminal(its)) as process:
        os.close(its)
        banner(process)
        log.rename(old)
        process.send_signal(signal.SIGHUP)
        until(log.exists)
        assert stop(process) == (0, "")
    os.close(ours)
