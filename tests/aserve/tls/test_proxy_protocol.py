"""TLS behind a proxy that passes it on: the header comes first, in the clear."""

import http.client
import socket
import ssl
from contextlib import suppress

from aserve.http1.limits import Limits
from tests.aserve.tls.test_serving import MODELS, TIMEOUT, ask_plainly
from tests.aserve.transport.proxy_headers import LOCAL, binary, block, line
from tests.aserve.transport.test_proxy_protocol import answer

DENIED = "192.0.2.66"
FROM_HERE = {"proxy_protocol": True, "proxy_trust": ("127.0.0.0/8",)}
PLAIN = b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def connect(address, context, *parts):
    """Return a connection after the parts of a header and a handshake."""
    raw = socket.create_connection(address, TIMEOUT)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for part in parts:
            raw.sendall(part)
        return context.wrap_socket(raw, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


def status(address, context, *parts):
    """Return the status of a request behind the parts of a header."""
    connection = http.client.HTTPSConnection("localhost", address[1], context=context)
    with connect(address, context, *parts) as connection.sock:
        connection.request("GET", "/a.txt")
        response = connection.getresponse()
        response.read()
        return response.status


def handshake(context):
    """Return the first bytes of a client that speaks TLS."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@MODELS
def test_the_header_comes_before_the_handshake(start, trusting, model):
    _, address = start(model=model, deny=(DENIED,), **FROM_HERE)
    for header in (line, binary):
        for host, expected in (("192.0.2.1", 200), (DENIED, 403), ("2001:db8::1", 200)):
            data = header(host)
            assert status(address, trusting, data) == expected
            assert status(address, trusting, data[:9], data[9:]) == expected
    assert status(address, trusting, block(LOCAL, 0, b"skipped")) == 200


@MODELS
def test_without_a_header_there_is_no_handshake(start, trusting, model):
    _, address = start(model=model, **FROM_HERE)
    assert answer(address, handshake(trusting)) == b""
    _, address = start(model=model, proxy_protocol=True, proxy_trust=("127.0.0.2",))
    assert answer(address, line("192.0.2.1") + handshake(trusting)) == b""


@MODELS
def test_a_header_is_not_taken_from_within_tls(start, trusting, model):
    _, address = start(model=model, **FROM_HERE)
    with connect(address, trusting, line("192.0.2.1")) as client:
        client.sendall(line("192.0.2.2") + PLAIN)
        assert client.recv(65_536).startswith(b"HTTP/1.1 400 ")


@MODELS
def test_plain_http_behind_a_header_leads_to_https(start, model):
    _, address = start(model=model, **FROM_HERE)
    header = line("192.0.2.1")
    assert ask_plainly(address, header + PLAIN).startswith(b"HTTP/1.1 308 ")


@MODELS
def test_a_client_has_as_many_connections_as_without_a_proxy(start, trusting, model):
    limits = Limits(max_connections_per_ip=1)
    _, address = start(model=model, **FROM_HERE, limits=limits)
    with connect(address, trusting, line("192.0.2.1")):
        for parts in ((line("192.0.2.1"),), (line("192.0.2.1")[:5], line("192.0.2.1")[5:])):
            # No 503 is worth a handshake.
            assert answer(address, *parts, handshake(trusting)) == b""
        assert status(address, trusting, line("192.0.2.2")) == 200
