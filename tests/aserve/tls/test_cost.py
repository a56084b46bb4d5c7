"""What TLS costs a request, in calls, and a turn of the loop, in bytes: nothing here takes time.

The bounds are the counts at the time they were written, as in tests/aserve/transport/test_cost.py.
"""

import asyncio
import os
from pathlib import Path

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.filesystem.monitor import ChangeMonitor
from aserve.filesystem.opened_file import OpenFile
from aserve.http.messages import FileSlice
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.tls.certificates import CertificateFiles
from aserve.tls.presented import PresentedCertificates
from aserve.transport.eventloop import transport_sender
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.eventloop.tls_transport import TlsLayer
from aserve.transport.eventloop.transport_sender import TransportSender
from tests.aserve.tls.in_memory import FakeSocket, MemoryClient
from tests.aserve.tls.issuing import client_context
from tests.calls import count_calls

REQUEST = b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def test_a_remembered_response_is_cheap(directory, pair):
    """Without TLS it takes 4 calls of Python; OpenSSL is called twice, each by a call of ssl.py.

    The loop calls get_buffer before.
    """
    monitor = ChangeMonitor()
    site = Site.of_files(Directory(directory, monitor.mounts))
    server = EventLoopServer(site, Limits(), PoolSize(1, 8), None, ResponseCache(monitor))
    certificates = PresentedCertificates([CertificateFiles(*map(Path, pair))])
    layer = TlsLayer(asyncio.get_running_loop(), certificates)
    layer.handshakes._clock = lambda: 0.0
    client = MemoryClient(server, layer, client_context()).shake_hands()
    for _ in range(5):
        client.deliver(client.encrypted(REQUEST))
        while not client.received():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        while server.thread_pool._free_slots < 9:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    counts = []
    for _ in range(2):  # the first request in each second has more to do
        wire = client.encrypted(REQUEST)
        client.fill(wire)
        counts.append(count_calls(lambda: client.transport.buffer_updated(len(wire))))  # noqa: B023
        assert client.received().endswith(b"alpha")
    python, c = min(counts)
    assert python <= 7
    assert c <= 9
    await server.stop(0)
    monitor.close()


class Taking(FakeSocket):
    """A transport that counts what it gets in each turn, and buffers nothing."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def write(self, data):
        self.sizes.append(len(data))
        super().write(data)

    def writelines(self, list_of_data):
        self.write(b"".join(list_of_data))


class NoThreads:
    """Stands for a pool that no test may use."""


class Source(OpenFile):
    """A file of which a test says what is in memory."""

    __slots__ = ("asked", "in_memory")

    def is_in_page_cache(self, start, stop):
        self.asked.append((start, stop))
        return stop <= self.in_memory


@pytest.fixture
def source(tmp_path):
    """A file of 3 MiB, all in memory."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(1 << 20) * 3)
    descriptor = os.open(path, os.O_RDONLY)
    file = Source(descriptor, os.fstat(descriptor), wait=False, local=True)
    file.asked, file.in_memory = [], 3 << 20
    yield file
    file.close()


async def wait_no_longer():
    """The transport takes everything at once."""


async def test_a_large_file_holds_no_turn_of_the_loop(source):
    """A turn sends 256 KiB at most, and the kernel is asked once per MiB what is in memory."""
    transport = Taking()
    sender = TransportSender(transport, NoThreads(), wait_no_longer)
    unsent = sender.try_send([b"head", FileSlice(source, 0, 3 << 20)])
    assert sum(transport.sizes) == sender.bytes_sent <= (1 << 18) + 65_536
    assert transport.sizes[0] == 65_536  # the head is in the same write as the first bytes
    sending = asyncio.create_task(sender.send(unsent))
    while not sending.done():
        before = sender.bytes_sent
        await asyncio.sleep(0)
        assert sender.bytes_sent - before <= (1 << 18) + 65_536
    assert transport.take() == b"head" + os.pread(source.fileno(), 3 << 20, 0)
    windows = {start >> 20 for start, _ in source.asked}
    assert windows == {0, 1, 2}
    assert {stop for _, stop in source.asked} == {1 << 20, 2 << 20, 3 << 20}


async def test_what_is_not_in_memory_is_left_to_a_thread(source):
    source.in_memory = 1 << 20
    transport = Taking()
    sender = TransportSender(transport, NoThreads(), wait_no_longer)
    unsent = [b"head", FileSlice(source, 0, 3 << 20)]
    while left := sender.try_send(unsent):
        if left == unsent:
            break
        unsent = left
    (rest,) = unsent
    assert (rest.start, sender.bytes_sent) == (1 << 20, (1 << 20) + 4)


async def test_a_client_that_does_not_read_is_sent_one_piece(source, monkeypatch):
    transport = Taking()
    monkeypatch.setattr(transport, "get_write_buffer_size", lambda: sum(transport.sizes))
    sender = TransportSender(transport, NoThreads(), wait_no_longer)
    sender.try_send([FileSlice(source, 0, 3 << 20)])
    assert sender.bytes_sent == transport_sender._MAX_WRITE


async def test_a_file_that_has_become_shorter_ends_the_response(source):
    sender = TransportSender(Taking(), NoThreads(), wait_no_longer)
    source.in_memory = 4 << 20
    with pytest.raises(EOFError):
        sender.try_send([FileSlice(source, 3 << 20, 4 << 20)])
