"""What a request costs, in calls and not in time: a guard that no busy machine can trip.

Counted are the calls that the interpreter makes, to functions in Python and in C, while the loop
hands a request over. The bounds are what it took when they were written, and a little more; who
needs to raise one should know why (docs/performance.md).
"""

import asyncio
import os
import sys
from collections import Counter

import pytest

from aserve.cache.response_cache import ResponseCache
from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize

PLAIN = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"
ONCE = PLAIN.replace(b"1.1", b"1.0")
BROWSER = (
    b"GET /a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="156"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: "Linux"\r\n'
    b"Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,*/*;q=0.8\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n"
    b"Cookie: session=%d\r\n\r\n"
)


class Wire(asyncio.Transport):
    """A transport that takes everything and sends nothing."""

    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.connection.connection_lost(None)

    abort = close

    def get_write_buffer_size(self):
        return 0

    def get_extra_info(self, name, default=None):
        return default


class Served:
    def __init__(self, model):
        self.model = model
        self.connect()

    def connect(self):
        self.wire = Wire()
        self.connection = self.wire.connection = Connection(self.model)
        self.connection.connection_made(self.wire)

    def ask(self, octets):
        self.connection.data_received(octets)
        return self.wire.written.pop()

    async def warm(self, *heads):
        """Ask until it is remembered; what is found out in a thread comes back through the loop."""
        for head in heads:
            self.connect()
            self.connection.data_received(head)
            while not self.wire.written:  # noqa: ASYNC110 - what is looked at tells nobody
                await asyncio.sleep(0)
            pool = self.model.thread_pool
            while pool._free_slots < pool._size.threads + pool._size.queue:  # noqa: ASYNC110
                await asyncio.sleep(0)

    def cost(self, octets):
        """Return how many calls, in Python and to C, an answer takes."""
        # Twice, since the first of a second has more to do and cannot be both.
        counted = [calls(lambda: self.connection.data_received(octets)) for _ in range(2)]
        assert self.wire.written.pop().startswith(b"HTTP/1.1 200 OK\r\n")
        return min(counted)


def calls(work):
    """Return how many calls, in Python and to C, are made by some work; its own is not counted."""
    counts = Counter(call=-1)

    def count(_frame, event, _argument):
        counts[event] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"]


@pytest.fixture(params=[True, False], ids=["recall", "true path"])
async def served(request, folder):
    recall = ResponseCache(os.fsencode(folder)) if request.param else None
    model = EventLoopServer(StaticSite(Directory(folder)), Limits(), PoolSize(1, 8), None, recall)
    yield Served(model)
    await model.stop(0)


async def test_a_request_is_cheap(served):
    await served.warm(*[PLAIN] * 5)
    python, c = served.cost(PLAIN)
    if served.model.cache:
        assert python <= 4
        assert c <= 5
    else:
        assert python <= 84
        assert c <= 110


async def test_a_browsers_request_with_another_cookie_is_cheap(served):
    await served.warm(*[BROWSER % number for number in range(5)])
    python, c = served.cost(BROWSER % 99)
    if served.model.cache:
        assert python <= 6
        assert c <= 7
    else:
        assert python <= 98
        assert c <= 130


async def test_a_connection_for_one_request_is_cheap(served):
    await served.warm(*[ONCE] * 5)

    def life():
        served.connect()
        served.connection.data_received(ONCE)

    python, c = min(calls(life) for _ in range(2))  # the first of a second has more to do
    assert served.wire.written.pop().startswith(b"HTTP/1.1 200 OK\r\n")
    if served.model.cache:
        assert python <= 21  # three of them are made by this test
        assert c <= 12
    else:
        assert python <= 108
        assert c <= 120
