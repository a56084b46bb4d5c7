"""What a server is asked while it runs, and in which order it does that."""

import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from aserve.server import control_socket
from aserve.server.control import Control, WatchedFiles
from aserve.server.control_socket import ControlSocket, RunningServer, find_servers

NUMBERS = {signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM}


@pytest.fixture
def blocked() -> Iterator[None]:
    """Block the signals, and take what is left of them, before they are as they were."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    yield
    while signal.sigtimedwait(NUMBERS, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
def test_an_upgrade_comes_after_all_else_that_was_asked() -> None:
    """With the program ends what it has read: a SIGTERM after SIGUSR2 must not get lost."""
    asked: list[int] = []
    control = Control(NUMBERS, asked.append, str, WatchedFiles(()))
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP):
        signal.pthread_kill(threading.get_ident(), number)
    control.wait()
    assert asked == [signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2]


def test_a_server_that_hangs_does_not_hide_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports above 65,535 cannot be those of a server beside this test."""
    monkeypatch.setattr(control_socket, "_CONNECT_PAUSE_S", 0)
    pid = os.getpid()
    hanging, other = ControlSocket(70_001), ControlSocket(70_002)
    waiting: list[socket.socket] = []
    try:
        while True:  # until its queue is full
            client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            waiting.append(client)
            client.setblocking(False)
            try:
                client.connect(b"\0aserve-%d-70001" % pid)
            except BlockingIOError:
                break
        assert find_servers(70_002) == [RunningServer(pid, 70_002)]
        assert find_servers(70_001) == []
    finally:
        for client in waiting:
            client.close()
        hanging.close()
        other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_does_not_find_the_server_of_root() -> None:
    own = ControlSocket(70_003)
    try:
        os.seteuid(65_534)
        assert find_servers(70_003) == []
        os.seteuid(0)
        assert find_servers(70_003) == [RunningServer(os.getpid(), 70_003)]
    finally:
        os.seteuid(0)
        own.close()
