"""Signals as hints: early data, lost signals and signals about closed descriptors."""

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
from aserve.linux.signalfd import block_signals, enable_signal
from aserve.transport.models.signal_driven import SignalPoller

TIMEOUT = 60.0


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(4)]
    for ours, _ in pairs:
        ours.setblocking(False)
    yield pairs
    for pair in pairs:
        for sock in pair:
            sock.close()


@pytest.fixture
def full_signal_queue() -> Iterator[None]:
    """Let no signal be queued (setrlimit(2): RLIMIT_SIGPENDING)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (soft, hard))


def on_a_thread(work: Callable[[], None]) -> None:
    """Run on a thread of its own, since the signal mask belongs to the thread."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - asserted below
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(TIMEOUT)
    assert not errors, errors
    assert not thread.is_alive()


def make_poller(pairs: list[tuple[socket.socket, socket.socket]]) -> SignalPoller:
    poller = SignalPoller()
    for ours, _ in pairs:
        poller.register(ours.fileno(), readable=True, writable=False)
    assert len(list(poller.poll(0))) == len(pairs)  # all are tried once
    assert list(poller.poll(0)) == []
    return poller


def test_signal_names_the_descriptor(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    def work() -> None:
        poller = make_poller(pairs)
        pairs[2][1].send(b"x")
        assert list(poller.poll(TIMEOUT)) == [(pairs[2][0].fileno(), True)]
        assert list(poller.poll(0)) == []

    on_a_thread(work)


def test_data_from_before_registration_is_found(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    def work() -> None:
        pairs[0][1].send(b"x")
        poller = SignalPoller()
        poller.register(pairs[0][0].fileno(), readable=True, writable=False)
        assert list(poller.poll(TIMEOUT)) == [(pairs[0][0].fileno(), True)]

    on_a_thread(work)


def test_after_lost_signals_every_descriptor_is_tried(
    pairs: list[tuple[socket.socket, socket.socket]], full_signal_queue: None
) -> None:
    def work() -> None:
        poller = make_poller(pairs)
        pairs[2][1].send(b"x")
        hinted = {descriptor for descriptor, _ in poller.poll(TIMEOUT)}
        assert hinted == {ours.fileno() for ours, _ in pairs}

    on_a_thread(work)


def test_signal_about_a_closed_descriptor_is_dropped(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    def work() -> None:
        poller = make_poller(pairs)
        ours, theirs = pairs[1]
        theirs.send(b"x")  # its signal is queued
        number = ours.fileno()
        ours.close()
        poller.unregister(number)
        # Another file has the number now, which is not registered and must not be reported.
        with open(os.devnull, "rb") as other:
            if other.fileno() != number:
                os.dup2(other.fileno(), number)
            assert list(poller.poll(0)) == []
            if other.fileno() != number:
                os.close(number)

    on_a_thread(work)


def test_shared_pipe_reports_to_this_thread_too() -> None:
    def work() -> None:
        reader, writer = os.pipe()
        shared = os.dup(reader)  # the same open file, as a forked worker has it
        block_signals((signal.SIGRTMIN + 2,))
        poller = SignalPoller()
        os.set_blocking(reader, False)
        poller.register(reader, readable=True, writable=False)
        list(poller.poll(0))
        enable_signal(shared, signal.SIGRTMIN + 2)  # the last caller gets the signals
        os.close(writer)
        assert list(poller.poll(TIMEOUT)) == [(reader, True)]
        os.close(reader)
        os.close(shared)

    on_a_thread(work)


def test_every_request_is_served_even_if_all_signals_are_lost(
    tmp_path: Path, full_signal_queue: None
) -> None:
    (tmp_path / "file").write_bytes(b"file")
    with aserve.Server(tmp_path, model="signal-driven") as server:
        parts = urlsplit(server.url)
        address = (parts.hostname, parts.port)
        clients = [socket.create_connection(address, TIMEOUT) for _ in range(32)]
        for _ in range(3):
            for client in clients:
                client.sendall(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            assert all(b"\r\n\r\nfile" in client.recv(1 << 16) for client in clients)
        for client in clients:
            client.close()
