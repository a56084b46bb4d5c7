"""IoUring with real files and sockets, as io_uring(7) describes it."""

import errno
import gc
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from aserve.linux.io_uring import IoUring
from aserve.transport.models.proactor import unavailable_reason

pytestmark = pytest.mark.skipif(
    bool(unavailable_reason()), reason=f"no io_uring: {unavailable_reason()}"
)

TIMEOUT = 60.0  # seconds


@pytest.fixture
def ring() -> Iterator[IoUring]:
    ring = IoUring(size=4)
    yield ring
    ring.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def wait(ring: IoUring, results: list[object], count: int = 1) -> None:
    """Wait for count results; the test's own timeout bounds the whole wait."""
    while len(results) < count:
        ring.wait(TIMEOUT)


def test_receive_waits_for_data(ring: IoUring, pair: tuple[socket.socket, socket.socket]) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, data: results.append((result, data)))
    ring.wait(0)
    assert results == []
    pair[1].send(b"hello")
    wait(ring, results)
    assert results == [(5, b"hello")]
    assert ring.pending_operations == 0


def test_receive_reports_the_end(ring: IoUring, pair: tuple[socket.socket, socket.socket]) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, data: results.append((result, data)))
    pair[1].shutdown(socket.SHUT_WR)
    wait(ring, results)
    assert results == [(0, b"")]


def test_buffers_are_provided_again(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    for number in range(200):  # more than there are buffers
        results: list[object] = []
        sent = b"%d" % number
        ring.receive(pair[0].fileno(), lambda _, data, results=results: results.append(data))  # type: ignore[misc]
        pair[1].send(sent)
        wait(ring, results)
        assert results == [sent]


def test_more_operations_than_the_queue_holds(
    ring: IoUring, pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(64)))
    results: list[tuple[int, int]] = []
    with (tmp_path / "file").open("rb") as file:
        buffers = [bytearray(1) for _ in range(64)]
        for start, buffer in enumerate(buffers):

            def on_complete(result: int, start: int = start) -> None:
                results.append((start, result))

            ring.read(file.fileno(), start, buffer, on_complete)
        while len(results) < 64:
            ring.wait(TIMEOUT)
    assert sorted(results) == [(start, 1) for start in range(64)]
    assert b"".join(buffers) == bytes(range(64))


def test_read_at_the_end_of_a_file_reads_nothing(ring: IoUring, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    results: list[object] = []
    with (tmp_path / "file").open("rb") as file:
        ring.read(file.fileno(), 4, bytearray(10), results.append)
        wait(ring, results)
    assert results == [0]


def test_a_failed_operation_reports_its_errno(ring: IoUring) -> None:
    results: list[object] = []
    closed = os.open(os.devnull, os.O_RDONLY)
    os.close(closed)
    ring.send(closed, b"data", results.append)
    wait(ring, results)
    assert results == [-errno.EBADF]


def test_one_accept_operation_accepts_many_connections(ring: IoUring) -> None:
    results: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ring.accept(listener.fileno(), results.append)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        while len(results) < 3:
            ring.wait(TIMEOUT)
        assert all(os.get_blocking(descriptor) for descriptor in results)
        assert not any(os.get_inheritable(descriptor) for descriptor in results)
        for descriptor in results:
            os.close(descriptor)
        for client in clients:
            client.close()
        ring.cancel(listener.fileno())
        while len(results) < 4:
            ring.wait(TIMEOUT)
    assert results[3] == -errno.ECANCELED


def test_cancel_ends_pending_operations(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, _: results.append(result))
    ring.cancel(pair[0].fileno())
    wait(ring, results)
    assert results == [-errno.ECANCELED]


def test_send_that_waits_for_room_keeps_its_buffer(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    sender, receiver = pair
    sender.setblocking(False)
    filled = 0
    try:
        while True:
            filled += sender.send(bytes(1 << 16))
    except BlockingIOError:
        sender.setblocking(True)
    results: list[int] = []
    ring.send(sender.fileno(), b"last" * 1_000, results.append)  # nothing else references them
    ring.wait(0)
    gc.collect()
    assert results == []
    received = b""
    while not results or len(received) < filled + results[0]:
        received += receiver.recv(1 << 20)
        ring.wait(0)
    assert received[filled:] == (b"last" * 1_000)[: results[0]]


def test_a_closed_ring_references_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    class Owner:
        def on_receive(self, result: int, data: bytes) -> None:
            results.append(result)

    ring, owner, results = IoUring(size=4), Owner(), list[int]()
    ring.receive(pair[0].fileno(), owner.on_receive)
    reference = weakref.ref(owner)
    ring.wait(0)
    ring.close()
    assert results == [-errno.ECANCELED]
    del owner
    assert reference() is None


# A filter that makes io_uring_setup fail with EPERM, as container runtimes do (seccomp(2)).
FORBID = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
instructions = b"".join(struct.pack("HBBI", *each) for each in (
    (0x20, 0, 0, 0),            # load the number of the system call
    (0x15, 0, 1, 425),          # io_uring_setup?
    (0x06, 0, 0, 0x00050001),   # SECCOMP_RET_ERRNO | EPERM
    (0x06, 0, 0, 0x7FFF0000),   # SECCOMP_RET_ALLOW
))
program = ctypes.create_string_buffer(instructions, len(instructions))
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))
filtered = Program(4, ctypes.addressof(program))
assert libc.prctl(38, 1, 0, 0, 0) == 0              # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.byref(filtered)) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
sys.argv = ["aserve", sys.argv[1], "--port", "0", "--model", "proactor"]
from aserve.cli.main import main
main()
"""


def test_where_io_uring_is_forbidden_there_is_one_line_of_error(tmp_path: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", FORBID, tmp_path], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 2
    assert completed.stderr.startswith("aserve: error: --model: proactor is not available: ")
    assert "io_uring" in completed.stderr
    assert "Operation not permitted" in completed.stderr
    assert completed.stderr.count("\n") == 1
