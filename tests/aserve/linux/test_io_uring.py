"""The ring against what io_uring(7) says, with real files and sockets."""

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

PATIENCE = 10.0


@pytest.fixture
def ring() -> Iterator[IoUring]:
    ring = IoUring(size=4)
    yield ring
    ring.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def wait(ring: IoUring, results: list[object], count: int = 1) -> None:
    """Wait for so many results; the whole wait is bounded by the test's own timeout."""
    while len(results) < count:
        ring.wait(PATIENCE)


def test_receive_waits_for_what_arrives(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, octets: results.append((result, octets)))
    ring.wait(0)
    assert results == []
    pair[1].send(b"hello")
    wait(ring, results)
    assert results == [(5, b"hello")]
    assert ring.pending_operations == 0


def test_receive_tells_of_the_end(ring: IoUring, pair: tuple[socket.socket, socket.socket]) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, octets: results.append((result, octets)))
    pair[1].shutdown(socket.SHUT_WR)
    wait(ring, results)
    assert results == [(0, b"")]


def test_buffers_are_offered_again(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    for number in range(200):  # more than there are buffers
        results: list[object] = []
        sent = b"%d" % number
        ring.receive(pair[0].fileno(), lambda _, octets, results=results: results.append(octets))  # type: ignore[misc]
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

            def done(result: int, start: int = start) -> None:
                results.append((start, result))

            ring.read(file.fileno(), start, buffer, done)
        while len(results) < 64:
            ring.wait(PATIENCE)
    assert sorted(results) == [(start, 1) for start in range(64)]
    assert b"".join(buffers) == bytes(range(64))


def test_read_at_the_end_of_a_file_reads_nothing(ring: IoUring, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    results: list[object] = []
    with (tmp_path / "file").open("rb") as file:
        ring.read(file.fileno(), 4, bytearray(10), results.append)
        wait(ring, results)
    assert results == [0]


def test_what_fails_tells_why(ring: IoUring) -> None:
    results: list[object] = []
    closed = os.open(os.devnull, os.O_RDONLY)
    os.close(closed)
    ring.send(closed, b"octets", results.append)
    wait(ring, results)
    assert results == [-errno.EBADF]


def test_one_accept_takes_many_connections(ring: IoUring) -> None:
    results: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ring.accept(listener.fileno(), results.append)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        while len(results) < 3:
            ring.wait(PATIENCE)
        assert all(os.get_blocking(descriptor) for descriptor in results)
        assert not any(os.get_inheritable(descriptor) for descriptor in results)
        for descriptor in results:
            os.close(descriptor)
        for client in clients:
            client.close()
        ring.cancel(listener.fileno())
        while len(results) < 4:
            ring.wait(PATIENCE)
    assert results[3] == -errno.ECANCELED


def test_cancel_ends_what_is_under_way(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    results: list[object] = []
    ring.receive(pair[0].fileno(), lambda result, _: results.append(result))
    ring.cancel(pair[0].fileno())
    wait(ring, results)
    assert results == [-errno.ECANCELED]


def test_send_that_waits_for_room_keeps_its_octets(
    ring: IoUring, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    filled = 0
    try:
        while True:
            filled += ours.send(bytes(1 << 16))
    except BlockingIOError:
        ours.setblocking(True)
    results: list[int] = []
    ring.send(ours.fileno(), b"last" * 1_000, results.append)  # nobody else holds these octets
    ring.wait(0)
    gc.collect()
    assert results == []
    received = b""
    while not results or len(received) < filled + results[0]:
        received += theirs.recv(1 << 20)
        ring.wait(0)
    assert received[filled:] == (b"last" * 1_000)[: results[0]]


def test_closed_ring_lets_go_of_everything(pair: tuple[socket.socket, socket.socket]) -> None:
    class Holder:
        def done(self, result: int, octets: bytes) -> None:
            results.append(result)

    ring, holder, results = IoUring(size=4), Holder(), list[int]()
    ring.receive(pair[0].fileno(), holder.done)
    held = weakref.ref(holder)
    ring.wait(0)
    ring.close()
    assert results == [-errno.ECANCELED]
    del holder
    assert held() is None


# A filter that lets io_uring_setup fail with EPERM, as container runtimes' do (seccomp(2)).
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


def test_where_it_is_forbidden_one_line_says_so(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORBID, tmp_path], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("aserve: error: --model: proactor is not available: ")
    assert "io_uring" in ran.stderr
    assert "Operation not permitted" in ran.stderr
    assert ran.stderr.count("\n") == 1
