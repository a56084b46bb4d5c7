"""Signals as hints: what came early, what was lost, and what is no longer true."""

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.linux.signalfd import SignalFd
from aserve.transport.models.signal_driven import SignalPoller

PATIENCE = 10.0


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(4)]
    for ours, _ in pairs:
        ours.setblocking(False)
    yield pairs
    for pair in pairs:
        for one in pair:
            one.close()


@pytest.fixture
def no_room() -> Iterator[None]:
    """No signal can be queued (setrlimit(2): RLIMIT_SIGPENDING)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (soft, hard))


def on_a_thread(work: Callable[[], None]) -> None:
    """Run on a thread that takes its mask of signals with it when it ends."""
    faults: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001 - told to whoever waits
            faults.append(fault)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(PATIENCE)
    assert not faults, faults
    assert not thread.is_alive()


def watching(pairs: list[tuple[socket.socket, socket.socket]]) -> SignalPoller:
    signals = SignalPoller()
    for ours, _ in pairs:
        signals.register(ours.fileno(), readable=True, writable=False)
    assert len(list(signals.poll(0))) == len(pairs)  # all are tried once
    assert list(signals.poll(0)) == []
    return signals


def test_signal_names_the_descriptor(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    def work() -> None:
        signals = watching(pairs)
        pairs[2][1].send(b"x")
        assert list(signals.poll(PATIENCE)) == [(pairs[2][0].fileno(), True)]
        assert list(signals.poll(0)) == []

    on_a_thread(work)


def test_what_came_before_the_first_signal_is_found(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    def work() -> None:
        pairs[0][1].send(b"x")
        signals = SignalPoller()
        signals.register(pairs[0][0].fileno(), readable=True, writable=False)
        assert list(signals.poll(PATIENCE)) == [(pairs[0][0].fileno(), True)]

    on_a_thread(work)


def test_lost_signals_make_everything_be_tried(
    pairs: list[tuple[socket.socket, socket.socket]], no_room: None
) -> None:
    def work() -> None:
        signals = watching(pairs)
        pairs[2][1].send(b"x")
        hinted = {descriptor for descriptor, _ in signals.poll(PATIENCE)}
        assert hinted == {ours.fileno() for ours, _ in pairs}

    on_a_thread(work)


def test_signal_about_a_closed_descriptor_is_dropped(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    def work() -> None:
        signals = watching(pairs)
        ours, theirs = pairs[1]
        theirs.send(b"x")  # its signal waits
        number = ours.fileno()
        ours.close()
        signals.unregister(number)
        # Another file has the number now; it is not watched, so nobody may touch it.
        with open(os.devnull, "rb") as other:
            if other.fileno() != number:
                os.dup2(other.fileno(), number)
            assert list(signals.poll(0)) == []
            if other.fileno() != number:
                os.close(number)

    on_a_thread(work)


def test_pipe_that_others_hold_tells_us_too() -> None:
    def work() -> None:
        reading, writing = os.pipe()
        elsewhere = os.dup(reading)  # the same open file, as a forked worker has it
        queue = SignalFd((signal.SIGRTMIN + 2,))
        signals = SignalPoller()
        os.set_blocking(reading, False)
        signals.register(reading, readable=True, writable=False)
        list(signals.poll(0))
        queue.enable_signal(elsewhere, signal.SIGRTMIN + 2)  # whoever comes last gets its signals
        os.close(writing)
        assert list(signals.poll(PATIENCE)) == [(reading, True)]
        os.close(reading)
        os.close(elsewhere)

    on_a_thread(work)


def test_every_request_is_served_though_all_signals_are_lost(tmp_path: Path, no_room: None) -> None:
    (tmp_path / "file").write_bytes(b"file")
    with aserve.Server(tmp_path, model="signal-driven") as server:
        place = urlsplit(server.url)
        address = (place.hostname, place.port)
        clients = [socket.create_connection(address, PATIENCE) for _ in range(32)]
        for _ in range(3):
            for client in clients:
                client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            assert all(b"\r\n\r\nfile" in client.recv(1 << 16) for client in clients)
        for client in clients:
            client.close()
