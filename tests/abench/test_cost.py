"""The cost of a request in calls: a figure that no other program on the machine can disturb."""

import pytest

from abench.client import factory
from abench.client.connection_pool import ConnectionPool
from abench.plan.plan import Plan
from abench.plan.url_file import WeightedUrl
from tests.calls import count_calls

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
URL = "http://127.0.0.1/"


class FakeTransport:
    """A transport that discards writes, and a connector that opens it at once."""

    def write(self, data):
        self.written = data

    writelines = write

    def close(self):
        pass

    abort = close

    def connect(self, client):
        client.connection_made(self)


# name: the plan, and the Python and C calls of a recognized response and the next request
COSTS = {
    "closed loop": ({}, (3, 4)),
    "several URLs": ({"urls": (WeightedUrl(URL), WeightedUrl(URL + "b"))}, (10, 8)),
    "with numbers": ({"url": URL + "{n}"}, (10, 9)),
    "one connection each": ({"keep_alive": False}, (3, 4)),
}


@pytest.mark.parametrize("name", COSTS)
async def test_a_recognized_response_and_the_next_request_cost_few_calls(name):
    plan, max_calls = COSTS[name]
    transport = FakeTransport()
    plan = Plan(**{"url": URL, "connections": 1, "requests": 10**6, **plan})
    pool = ConnectionPool(plan, factory.connection_class(plan), transport, lambda: None)
    pool.start_counting()
    pool.start()
    connection = pool.connections[0]

    def respond():
        pool.view[: len(RESPONSE)] = RESPONSE
        connection.buffer_updated(len(RESPONSE))
        if not plan.keep_alive:
            connection.connection_lost(None)

    for _ in range(4):
        respond()
    pool.view[: len(RESPONSE)] = RESPONSE
    python_calls, c_calls = count_calls(lambda: connection.buffer_updated(len(RESPONSE)))
    assert python_calls <= max_calls[0]
    assert c_calls <= max_calls[1]
    assert pool.recorder.take().succeeded == 5
