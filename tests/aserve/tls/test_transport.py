"""TLS on a connection of the event loop: records that come in any pieces, ends, and other clients.

The conversations are in memory, so that each piece arrives when a test says so.
"""

import asyncio
import re
import ssl
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.tls.certificates import CertificateFiles
from aserve.tls.presented import PresentedCertificates, ServerEnd
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.eventloop.tls_transport import TlsLayer
from tests.aserve.tls.in_memory import MemoryClient
from tests.aserve.tls.issuing import client_context, issue

REQUEST = b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = REQUEST.replace(b"Host", b"Connection: close\r\nHost")


class Alpha:
    """Answers all requests at once, and alike."""

    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(200, (), (b"alpha",), 5)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """The certificates that a server presents."""
    pair = issue(tmp_path_factory.mktemp("certificates"), "first")
    return PresentedCertificates([CertificateFiles(*map(Path, pair))])


@pytest.fixture
async def connect(certificates):
    """Return what connects clients to a server, all of them in one layer."""
    server = EventLoopServer(Site(Alpha()), Limits(), PoolSize(1, 8))
    layer = TlsLayer(asyncio.get_running_loop(), certificates)
    layer.handshakes._clock = lambda: 0.0  # or a busy machine would have some of them wait

    def connect_client(**options):
        client = MemoryClient(server, layer, client_context(), **options)
        client.layer = layer
        client.server = server
        return client

    yield connect_client
    await server.stop(0)


def bodies(received):
    """Return the bodies of responses with 200, which are all alike."""
    return re.findall(rb"HTTP/1\.1 200 OK\r\n.*?\r\n\r\n(alpha)", received, re.DOTALL)


def is_drained(client):
    return not (client.layer.incoming.pending or client.layer.outgoing.pending)


async def test_a_client_is_served_in_one_turn_of_the_loop(connect):
    client = connect().shake_hands()
    client.deliver(client.encrypted(REQUEST))
    assert bodies(client.received()) == [b"alpha"]
    assert is_drained(client)


@given(data=st.data())
async def test_records_may_come_in_any_pieces_and_clients_in_any_order(data):
    """RFC 8446 section 5.1: where a record ends is not where TCP's pieces do."""
    connect = _CONNECT[0]
    clients = [connect() for _ in range(3)]
    waiting = {}
    for number, client in enumerate(clients):
        client.shake_hands()
        size = data.draw(st.integers(1, 3), "requests")
        wire = b"".join(client.encrypted(REQUEST) for _ in range(size))
        cuts = sorted({0, len(wire), *data.draw(st.sets(st.integers(1, len(wire) - 1)), "cuts")})
        waiting[number] = [wire[a:b] for a, b in pairwise(cuts)]
        client.expected = size
    while waiting:
        number = data.draw(st.sampled_from(sorted(waiting)), "next client")
        clients[number].deliver(waiting[number].pop(0))
        assert is_drained(clients[number])
        if not waiting[number]:
            del waiting[number]
    for _ in range(3):  # on a busy machine, one request of a client is handled in each turn
        await asyncio.sleep(0)
    for client in clients:
        assert len(bodies(client.received())) == client.expected


_CONNECT = []


@pytest.fixture(autouse=True)
def _known(connect):
    """Let tests with hypothesis connect as well, which get no fixtures of one function."""
    _CONNECT[:] = [connect]


@pytest.mark.parametrize("cuts", [(), (1,), (5,), (100,)])
async def test_a_handshake_may_come_in_pieces_with_the_first_request(connect, cuts):
    client = connect()
    hello = client.begin()
    for start, stop in zip((0, *cuts), (*cuts, len(hello)), strict=True):
        client.deliver(hello[start:stop])
    client._incoming.write(client.socket.take())
    client.end.do_handshake()
    finished = client._outgoing.read()
    client.deliver(finished + client.encrypted(REQUEST))
    assert bodies(client.received()) == [b"alpha"]


async def test_a_response_is_one_write(connect):
    client = connect().shake_hands()
    before = client.socket.writes
    client.deliver(client.encrypted(REQUEST))
    assert client.socket.writes == before + 1


async def test_data_that_was_changed_on_its_way_ends_one_connection(connect):
    """RFC 8446 section 5.2: bad_record_mac, an alert and the end."""
    client, other = connect().shake_hands(), connect().shake_hands()
    wire = bytearray(client.encrypted(REQUEST))
    wire[-1] ^= 1
    client.deliver(bytes(wire) + b"more")
    assert is_drained(client)
    assert client.socket.is_closed
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        client.received()
    other.deliver(other.encrypted(REQUEST))
    assert bodies(other.received()) == [b"alpha"]


async def test_who_speaks_no_tls_after_all_is_told_by_an_alert(connect):
    client = connect()
    client.deliver(b"\x16\x03\x01\x00\x05hello and more")
    assert client.socket.is_closed
    assert client.socket.take()[:1] == b"\x15"  # RFC 8446 section 5.1: an alert
    assert is_drained(client)
    assert not client.server.connections


async def test_a_client_that_announces_its_end_still_gets_its_response(connect):
    """RFC 8446 section 6.1: close_notify closes one direction."""
    client = connect().shake_hands()
    client.deliver(client.encrypted(REQUEST) + client.close_notify())
    assert client.transport.eof_received()
    assert bodies(client.received()) == [b"alpha"]
    assert client.socket.is_closed or client.socket.has_ended
    assert is_drained(client)


async def test_with_tls_1_2_both_directions_end_together(connect):
    """RFC 5246 section 7.2.1."""
    client = connect_with(connect, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert not client.transport.can_write_eof()
    client.deliver(client.close_notify())
    assert client.socket.is_closed


def connect_with(connect, **attributes):
    """Return a client after its handshake, whose context has other attributes."""
    client = connect()
    context = client_context()
    for name, value in attributes.items():
        setattr(context, name, value)
    client.end = context.wrap_bio(client._incoming, client._outgoing, server_hostname="localhost")
    client.deliver(client.begin())
    for _ in range(2):  # with TLS 1.2, the server has the last word
        with suppress(ssl.SSLWantReadError):
            client.finish()
    return client


async def test_a_connection_that_is_cut_off_does_not_stay_open(connect):
    client = connect().shake_hands()
    assert not client.transport.eof_received()


async def test_the_last_response_ends_with_close_notify(connect):
    client = connect().shake_hands()
    client.deliver(client.encrypted(LAST))
    assert bodies(client.received()) == [b"alpha"]
    client.end.unwrap()  # raises if there was none: RFC 8446 section 6.1


async def test_a_client_that_has_gone_leaves_nothing(connect):
    client = connect().shake_hands()
    client.socket.close()
    client.transport.write(b"late")
    client.deliver(b"late")
    assert client.transport.get_extra_info("ssl_object") is None
    assert not client.server.connections


async def test_many_handshakes_at_once_leave_room_for_others(connect, monkeypatch):
    """Each step takes 0.4 ms of a clock that stands still otherwise: three make a turn."""
    now = 0.0
    done = []

    def shake_hands(end):
        nonlocal now
        now += 0.0004
        done.append(end)
        return original(end)

    busy = connect().shake_hands()
    await asyncio.sleep(0)
    original = ServerEnd.do_handshake
    monkeypatch.setattr(ServerEnd, "do_handshake", shake_hands)
    monkeypatch.setattr(busy.layer.handshakes, "_clock", lambda: now)
    clients = [connect() for _ in range(50)]
    for client in clients:
        client.deliver(client.begin())
    busy.deliver(busy.encrypted(REQUEST))
    assert bodies(busy.received()) == [b"alpha"]
    assert len(done) == 3
    while len(done) < len(clients):
        before = len(done)
        await asyncio.sleep(0)
        assert 0 < len(done) - before <= 3
    for client in clients:
        assert client.socket.reads
        client.finish()
    for _ in clients:
        await asyncio.sleep(0)
    assert len(done) == 2 * len(clients)
    for client in clients:
        client.deliver(client.encrypted(REQUEST))
        assert bodies(client.received()) == [b"alpha"]


async def test_a_client_that_leaves_while_its_handshake_waits_costs_no_step(connect, monkeypatch):
    first = connect().shake_hands()
    monkeypatch.setattr(first.layer.handshakes, "_clock", lambda: 1e9)
    second = connect()
    second.deliver(second.begin())
    assert not second.socket.reads
    second.socket.close()
    monkeypatch.setattr(ServerEnd, "do_handshake", None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
