"""Sockets that are full, and who waits for room in them."""

import asyncio
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
async def room():
    room = WriteReadiness(asyncio.get_running_loop())
    yield room
    room.close()


def content():
    """Be called once."""
    return False


def fill(ours):
    """Send until nothing more is taken."""
    sent = 0
    try:
        while True:
            sent += ours.send(bytes(1_024))
    except BlockingIOError:
        return sent


def drain(theirs, count):
    while count:
        count -= len(theirs.recv(count))


async def test_waiting_ends_when_the_peer_has_read_and_not_before(room, pair):
    ours, theirs = pair
    for _ in range(3):
        sent = fill(ours)
        waiting = asyncio.create_task(room.call_while_writable(ours.fileno(), content))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        drain(theirs, sent)
        await waiting


async def test_who_has_more_is_called_again_each_time_there_is_room(room, pair):
    ours, theirs = pair
    sent, calls, called = fill(ours), [], asyncio.Event()

    def once_more():
        calls.append(fill(ours))
        called.set()
        return len(calls) < 3

    waiting = asyncio.create_task(room.call_while_writable(ours.fileno(), once_more))
    for number in range(3):
        assert (len(calls), waiting.done()) == (number, False)
        drain(theirs, sent)
        await called.wait()
        called.clear()
        sent = calls[-1]
    await waiting
    assert min(calls) > 0


async def test_waiting_ends_when_the_peer_is_gone(room, pair):
    ours, theirs = pair
    fill(ours)
    waiting = asyncio.create_task(room.call_while_writable(ours.fileno(), content))
    await asyncio.sleep(0)
    theirs.close()
    await waiting
    with pytest.raises(ConnectionError):
        ours.send(b"x")


async def test_who_no_longer_waits_is_forgotten(room, pair):
    ours, theirs = pair
    sent = fill(ours)
    waiting = asyncio.create_task(room.call_while_writable(ours.fileno(), content))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not room._waiters
    drain(theirs, sent)  # an event for nobody
    await room.call_while_writable(ours.fileno(), content)


async def test_a_descriptor_of_a_closed_socket_can_be_anothers(room, pair):
    ours, _theirs = pair
    await room.call_while_writable(ours.fileno(), content)
    number = ours.fileno()
    ours.close()
    other, far = socket.socketpair()
    with other, far:
        assert other.fileno() == number
        await room.call_while_writable(other.fileno(), content)


async def test_closing_twice_is_harmless(room):
    room.close()
    room.close()
