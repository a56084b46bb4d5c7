"""The signal of a descriptor, and what a server knows by it before each response."""

import os
import signal
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aserve.filesystem.monitor import ChangeMonitor
from aserve.linux import readable_signal
from tests.aserve.programs import start
from tests.main_thread import off_main_thread

CHANGES = 300
NUMBER = readable_signal.NUMBER


@pytest.fixture
def _handler():
    former = signal.getsignal(NUMBER)
    readable_signal.install_handler()
    yield
    signal.signal(NUMBER, former)


def is_caught(pid: int) -> bool:
    """Tell whether a process handles the signal: proc(5), SigCgt."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> NUMBER - 1 & 1)


@pytest.mark.usefixtures("_handler")
def test_a_change_is_known_before_the_call_that_made_it_returns(tmp_path: Path) -> None:
    monitor = ChangeMonitor(max_watches=10)
    assert monitor.inotify
    monitor.inotify.add_directory(os.fsencode(tmp_path))
    for number in range(CHANGES):
        assert not monitor.has_changes()
        (tmp_path / str(number)).touch()
        assert monitor.has_changes()
        monitor.process_changes()
    monitor.close()


@pytest.mark.usefixtures("_handler")
def test_each_of_several_monitors_is_told(tmp_path: Path) -> None:
    monitors = [ChangeMonitor(max_watches=10), ChangeMonitor(max_watches=10)]
    for monitor in monitors:
        monitor.inotify.add_directory(os.fsencode(tmp_path))
    monitors[0].reset()  # a new descriptor
    monitors[0].inotify.add_directory(os.fsencode(tmp_path))
    (tmp_path / "file").touch()
    assert all(monitor.has_changes() for monitor in monitors)
    for monitor in monitors:
        monitor.close()


@pytest.mark.usefixtures("_handler")
def test_a_signal_that_is_lost_costs_a_second(tmp_path: Path) -> None:
    monitor = ChangeMonitor(max_watches=10)
    monitor.inotify.add_directory(os.fsencode(tmp_path))
    signal.pthread_sigmask(signal.SIG_BLOCK, {NUMBER})
    try:
        generation = monitor.generation()
        (tmp_path / "file").touch()
        assert not monitor.has_changes()
        monitor.tick()  # of each second
        assert monitor.generation() > generation
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {NUMBER})
        monitor.close()


@off_main_thread
def test_without_the_main_thread_or_a_handler_the_kernel_is_asked(tmp_path: Path) -> None:
    assert signal.getsignal(NUMBER) is signal.SIG_DFL
    monitor = ChangeMonitor(max_watches=10)
    monitor.inotify.add_directory(os.fsencode(tmp_path))
    assert readable_signal.readable_signal(monitor.inotify.fileno()) is None
    (tmp_path / "file").touch()
    assert monitor.has_changes()
    monitor.close()


def test_a_handler_that_gets_no_signal_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readable_signal, "enable_signal", lambda *_: None)  # as in gVisor
    former = signal.getsignal(NUMBER)
    readable_signal.install_handler()
    assert signal.getsignal(NUMBER) == former


def test_a_server_never_sends_what_was_true_before_a_change(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    program = start(tmp_path, "--port=0", "--host=127.0.0.1")
    try:
        url = [program.stderr.readline() for _ in range(4)][1].split()[1]
        connections = [HTTPConnection(urlsplit(url).netloc, timeout=60) for _ in range(4)]
        for number in range(CHANGES):
            file.write_text(f"{number:05}")
            os.utime(file, (number, number))  # so old that it may be cached
            for connection in connections:
                connection.request("GET", "/file.txt")
                assert connection.getresponse().read() == b"%05d" % number
        for connection in connections:
            connection.close()
        assert is_caught(program.pid)
        program.terminate()
        program.communicate(60)
    finally:
        program.close()
