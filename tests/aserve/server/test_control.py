"""What a server is asked while it runs, and in which order it does that."""

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest

from aserve.server import control_socket
from aserve.server.control import Control, WatchedFiles
from aserve.server.control_socket import (
    ControlClient,
    ControlSocket,
    RunningServer,
    find_servers,
    request_reload,
)

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


@contextmanager
def control_on(port: int, answers: Callable[[], str]) -> Iterator[Control]:
    control = Control(set(), str, answers, WatchedFiles(()), control_socket=ControlSocket(port))
    try:
        yield control
    finally:
        control.close()


def connect_to(port: int) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(b"\0aserve-%d-%d" % (os.getpid(), port))
    return client


def test_a_silent_client_delays_no_other() -> None:
    with (
        control_on(70_004, lambda: "not now") as control,
        closing(connect_to(70_004)) as silent,
        closing(connect_to(70_004)) as client,
    ):
        client.send(b"reload")
        silent.setblocking(False)
        control.wait()  # both are accepted
        control.wait()
        assert client.recv(100) == b"not now"
        with pytest.raises(BlockingIOError):
            silent.recv(100)
        silent.send(b"something else")
        control.wait()
        assert silent.recv(100) == b""


def test_silent_clients_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aserve.server.control._MAX_CLIENTS", 2)
    with control_on(70_005, str) as control, ExitStack() as clients:
        first, *_, last = [clients.enter_context(closing(connect_to(70_005))) for _ in range(3)]
        last.send(b"reload")
        control.wait()
        assert first.recv(100) == b""
        control.wait()
        assert last.recv(100) == b"done"


def test_who_has_asked_by_a_former_name_is_answered() -> None:
    with (
        control_on(70_006, str) as control,
        closing(connect_to(70_006)) as accepted,
    ):
        control.wait()
        with closing(connect_to(70_006)) as waiting:
            control.change_port(70_007)
            assert find_servers(70_006) == []
            for client in (accepted, waiting):
                client.send(b"reload")
                control.wait()
                assert client.recv(100) == b"done"
        assert find_servers(70_007) == [RunningServer(os.getpid(), 70_007)]


def test_a_call_that_is_due_is_made_once() -> None:
    calls: list[str] = []
    with control_on(70_008, str) as control:
        control.call_later(0, lambda: calls.append("first"))
        control.call_later(3_600, lambda: calls.append("later"))
        control.wait()
        with closing(connect_to(70_008)):
            control.wait()
    assert calls == ["first"]


def test_a_descriptor_is_read_when_it_is_readable() -> None:
    counter = os.eventfd(0, os.EFD_NONBLOCK)
    read: list[int] = []
    with control_on(70_010, str) as control:
        control.call_when_readable(counter, lambda: read.append(os.eventfd_read(counter)))
        with closing(connect_to(70_010)):
            control.wait()
        assert read == []
        os.eventfd_write(counter, 3)
        control.wait()
    os.close(counter)
    assert read == [3]


def test_a_program_that_is_started_anew_is_asked_again() -> None:
    """It passes its socket on, and not the clients that it has accepted."""
    server = ControlSocket(70_009)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(request_reload, RunningServer(os.getpid(), 70_009))
        for answer in (None, "answered"):
            (client,) = accept_waiting(server)
            select.select([client], [], [])
            assert client.has_asked()
            if answer:
                client.answer(answer)
            client.close()
        assert asked.result() == "answered"
    server.close()
    assert request_reload(RunningServer(os.getpid(), 70_009)) == "the server has ended"


def accept_waiting(server: ControlSocket) -> list[ControlClient]:
    select.select([server], [], [])
    return server.accept()
