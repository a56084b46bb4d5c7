"""Full sockets, and callers that wait until they are writable."""

import asyncio
import os
import socket

import pytest

from aserve.transport.eventloop.write_readiness import WriteReadiness


@pytest.fixture
def pair():
    """A socket whose buffer is small, and its other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
async def write_readiness():
    write_readiness = WriteReadiness(asyncio.get_running_loop())
    yield write_readiness
    write_readiness.close()


def call_once():
    """Ask for no further call."""
    return False


def fill(ours):
    """Send until the socket is full; return the number of bytes."""
    sent = 0
    try:
        while True:
            sent += ours.send(bytes(1_024))
    except BlockingIOError:
        return sent


def drain(theirs, count):
    while count:
        count -= len(theirs.recv(count))


async def test_waiting_ends_when_the_peer_has_read_and_not_before(write_readiness, pair):
    ours, theirs = pair
    for _ in range(3):
        sent = fill(ours)
        waiter = asyncio.create_task(write_readiness.call_while_writable(ours.fileno(), call_once))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiter.done()
        drain(theirs, sent)
        await waiter


async def test_a_caller_with_more_data_is_called_again_each_time(write_readiness, pair):
    ours, theirs = pair
    sent, calls, called = fill(ours), [], asyncio.Event()

    def send_more():
        calls.append(fill(ours))
        called.set()
        return len(calls) < 3

    waiter = asyncio.create_task(write_readiness.call_while_writable(ours.fileno(), send_more))
    for number in range(3):
        assert (len(calls), waiter.done()) == (number, False)
        drain(theirs, sent)
        await called.wait()
        called.clear()
        sent = calls[-1]
    await waiter
    assert min(calls) > 0


async def test_waiting_ends_when_the_peer_is_gone(write_readiness, pair):
    ours, theirs = pair
    fill(ours)
    waiter = asyncio.create_task(write_readiness.call_while_writable(ours.fileno(), call_once))
    await asyncio.sleep(0)
    theirs.close()
    await waiter
    with pytest.raises(ConnectionError):
        ours.send(b"x")


async def test_a_cancelled_waiter_is_removed(write_readiness, pair):
    ours, theirs = pair
    sent = fill(ours)
    waiter = asyncio.create_task(write_readiness.call_while_writable(ours.fileno(), call_once))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not write_readiness._waiters
    drain(theirs, sent)  # an event without a waiter
    await write_readiness.call_while_writable(ours.fileno(), call_once)


async def test_the_descriptor_of_a_closed_socket_can_be_reused(write_readiness, pair):
    ours, _theirs = pair
    await write_readiness.call_while_writable(ours.fileno(), call_once)
    number = ours.fileno()
    other, far = socket.socketpair()
    ours.close()
    with other, far, socket.socket(fileno=os.dup2(other.fileno(), number)) as reused:
        assert reused.fileno() == number
        await write_readiness.call_while_writable(number, call_once)


async def test_closing_twice_is_harmless(write_readiness):
    write_readiness.close()
    write_readiness.close()
