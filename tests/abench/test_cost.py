"""The cost of a request in calls: a figure that no other program on the machine can disturb."""

import asyncio
import socket

import pytest

from abench.client import factory
from abench.client.connection_pool import ConnectionPool
from abench.client.connector import Connector
from abench.plan.behavior import Behavior
from abench.plan.plan import Plan
from abench.plan.route import TlsOptions
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
    "several URLs": ({"urls": (WeightedUrl(URL), WeightedUrl(URL + "b"))}, (6, 8)),
    "with numbers": ({"url": URL + "{n}"}, (8, 9)),
    # one more C call than before the request alone was timed: opening a connection costs 50 us
    "as users": ({"behavior": Behavior(requests_per_connection=10**6)}, (36, 14)),
    "with redirects": ({"behavior": Behavior(follow=True)}, (40, 16)),
    "with cookies": ({"behavior": Behavior(cookies=True)}, (44, 24)),
    "one connection each": ({"keep_alive": False}, (3, 5)),
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


async def test_a_recognized_response_over_tls_costs_few_calls(server_context):
    """One read from the socket, one of TLS; one write of TLS, one to the socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        plan = Plan(url=url, connections=1, requests=10**6, tls=TlsOptions(insecure=True))
        connector = Connector(plan)
        pool = ConnectionPool(plan, factory.connection_class(plan), connector, lambda: None)
        pool.start_counting()
        pool.start()
        raw, _ = await asyncio.to_thread(listener.accept)
        server = await asyncio.to_thread(server_context.wrap_socket, raw, server_side=True)
        poller = connector._poller
        with server:

            def respond():
                server.recv(65_536)
                server.sendall(RESPONSE)
                poller.epoll.poll(60)  # until the response is there

            for _ in range(4):
                respond()
                poller._poll()
            respond()
            python_calls, c_calls = count_calls(poller._poll)
        connector.close()
    assert pool.recorder.take().succeeded == 5
    assert python_calls <= 8
    assert c_calls <= 13
