"""What a request costs, in calls: a figure that no other program on the machine can disturb."""

import sys
from collections import Counter

import pytest

from abench.client import factory
from abench.client.connection import ConnectionPool
from abench.plan.plan import Plan
from abench.plan.url_file import WeightedUrl

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
URL = "http://127.0.0.1/"


class Wire:
    """A transport that keeps nothing, and a connector that opens it at once."""

    def write(self, data):
        self.written = data

    writelines = write

    def close(self):
        pass

    abort = close

    def dial(self, client):
        client.connection_made(self)


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
    return counts["call"], counts["c_call"] - 1  # the last is setprofile itself


# name: the plan, and how many calls a reply that is recognised and the next request take
COSTS = {
    "closed loop": ({}, (3, 4)),
    "several URLs": ({"urls": (WeightedUrl(URL), WeightedUrl(URL + "b"))}, (9, 7)),
    "with numbers": ({"url": URL + "{n}"}, (9, 8)),
    "one request each": ({"keep_alive": False}, (3, 4)),
}


@pytest.mark.parametrize("name", COSTS)
async def test_a_recognised_reply_and_the_next_request_cost_few_calls(name):
    plan, most = COSTS[name]
    wire = Wire()
    plan = Plan(**{"url": URL, "connections": 1, "requests": 10**6, **plan})
    pool = ConnectionPool(plan, factory.connection_class(plan), wire, lambda: None)
    pool.start_counting()
    pool.start()
    connection = pool.connections[0]

    def reply():
        pool.view[: len(REPLY)] = REPLY
        connection.buffer_updated(len(REPLY))
        if not plan.keep_alive:
            connection.connection_lost(None)

    for _ in range(4):
        reply()
    pool.view[: len(REPLY)] = REPLY
    python, c = calls(lambda: connection.buffer_updated(len(REPLY)))
    assert python <= most[0]
    assert c <= most[1]
    assert pool.recorder.take().succeeded == 5
