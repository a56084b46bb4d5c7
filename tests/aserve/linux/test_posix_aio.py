"""POSIX AIO on real files and sockets: completion, its signal, and lost signals."""

import errno
import os
import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aserve.linux.abortive_close import reset_connection
from aserve.linux.posix_aio import PosixAio, unavailable_reason

pytestmark = pytest.mark.skipif(bool(unavailable_reason()), reason=unavailable_reason())

TIMEOUT = 60.0  # seconds


@pytest.fixture
def aio() -> Iterator[PosixAio]:
    aio = PosixAio(544)
    yield aio
    aio.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname(), TIMEOUT)
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def full_signal_queue() -> Iterator[Callable[[], None]]:
    """Let no signal be queued (setrlimit(2): RLIMIT_SIGPENDING), until the function is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)

    def restore() -> None:
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (soft, hard))

    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
    yield restore
    restore()


def wait(aio: PosixAio, results: list[int], count: int = 1) -> None:
    poller = select.poll()
    poller.register(aio.fileno(), select.POLLIN)
    while len(results) < count:
        assert poller.poll(TIMEOUT * 1_000), "no operation was completed"
        aio.process_completions()


def test_reads_return_the_data_at_their_offsets(aio: PosixAio, tmp_path: Path) -> None:
    blocks = [os.urandom(1 << 16) for _ in range(16)]
    (tmp_path / "file").write_bytes(b"".join(blocks))
    buffers, results = [bytearray(1 << 16) for _ in blocks], list[int]()
    with (tmp_path / "file").open("rb") as file:
        for number, buffer in enumerate(buffers):
            aio.read(file.fileno(), number << 16, buffer, results.append)
        wait(aio, results, len(blocks))
    assert results == [1 << 16] * len(blocks)
    assert buffers == blocks


def test_reads_at_the_end_of_a_file_are_short_and_then_empty(aio: PosixAio, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    buffer, results = bytearray(10), list[int]()
    with (tmp_path / "file").open("rb") as file:
        aio.read(file.fileno(), 2, buffer, results.append)
        wait(aio, results)
        aio.read(file.fileno(), 4, bytearray(10), results.append)
        wait(aio, results, 2)
    assert (results, buffer[:2]) == ([2, 0], b"34")


def test_an_error_is_a_negative_errno(aio: PosixAio, tmp_path: Path) -> None:
    directory, results = os.open(tmp_path, os.O_RDONLY), list[int]()
    aio.read(directory, 0, bytearray(10), results.append)
    wait(aio, results)
    os.close(directory)
    assert results == [-errno.EISDIR]


def test_a_socket_is_read_when_data_arrives_and_written(
    aio: PosixAio, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    buffer, results = bytearray(10), list[int]()
    aio.read(ours.fileno(), 0, buffer, results.append)
    assert aio.find_unannounced() == 0  # nothing has arrived
    theirs.sendall(b"abc")
    wait(aio, results)
    aio.write(ours.fileno(), b"defg", results.append)
    wait(aio, results, 2)
    assert (results, buffer[:3], theirs.recv(10)) == ([3, 4], b"abc", b"defg")


def test_shutdown_ends_a_read_that_has_begun(
    aio: PosixAio, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    results = list[int]()
    aio.read(ours.fileno(), 0, bytearray(10), results.append)
    ours.shutdown(socket.SHUT_RDWR)
    wait(aio, results)
    assert results == [0]


def test_a_write_that_waits_for_the_client_ends_with_a_reset(
    aio: PosixAio, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    results = list[int]()
    aio.write(ours.fileno(), bytes(64 << 20), results.append)
    theirs.recv(1)  # it has begun
    assert not results
    reset_connection(ours)
    wait(aio, results)
    with pytest.raises(ConnectionResetError):
        b"".join(iter(lambda: theirs.recv(1 << 20), b""))


def test_operations_behind_another_one_can_be_cancelled(
    aio: PosixAio, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    first, second = list[int](), list[int]()
    aio.read(ours.fileno(), 0, bytearray(10), first.append)
    aio.write(ours.fileno(), b"x", second.append)  # waits for the read: one at a time
    aio.cancel(ours.fileno())
    wait(aio, second)
    assert second == [-errno.ECANCELED]
    theirs.sendall(b"abc")
    ours.shutdown(socket.SHUT_RDWR)  # if the read had not begun, it was cancelled as well
    wait(aio, first)
    assert first[0] in {3, 0, -errno.ECANCELED}


def test_a_full_signal_queue_loses_no_result(
    aio: PosixAio,
    pair: tuple[socket.socket, socket.socket],
    full_signal_queue: Callable[[], None],
) -> None:
    ours, theirs = pair
    buffer, results = bytearray(10), list[int]()
    aio.read(ours.fileno(), 0, buffer, results.append)
    theirs.sendall(b"abc")
    deadline = time.monotonic() + TIMEOUT
    while not aio.find_unannounced():
        assert time.monotonic() < deadline
    assert (results, buffer[:3]) == ([3], b"abc")
    assert aio.process_completions() == 0
    full_signal_queue()
    aio.read(ours.fileno(), 0, buffer, results.append)
    theirs.sendall(b"defg")
    wait(aio, results, 2)
    assert results == [3, 4]
    assert aio.find_unannounced() == 0  # each is reported once


def test_operations_of_other_threads_complete_here(
    aio: PosixAio, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    results, buffer = list[int](), bytearray(10)

    def start() -> None:
        aio.read(ours.fileno(), 0, buffer, results.append)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    theirs.sendall(b"abc")
    wait(aio, results)
    assert buffer[:3] == b"abc"


def test_close_waits_for_pending_operations(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    aio, results = PosixAio(544), list[int]()
    with (tmp_path / "file").open("rb") as file:
        aio.read(file.fileno(), 0, bytearray(6), results.append)
        aio.close()
    assert results == [6]


def test_there_is_one_at_a_time(aio: PosixAio) -> None:
    with pytest.raises(OSError, match="another server of this process"):
        PosixAio(1)
