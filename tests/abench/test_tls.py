"""TLS as a server sees it: how connections end, and what each error is called."""

import asyncio
import ssl

import pytest

from abench.client.connection import Connection
from abench.plan.route import TlsOptions
from tests.abench.conftest import OVER

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nhello"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
SECURED = pytest.mark.parametrize("over", ["TLS", "TLS through a proxy"])
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


class Encrypted(asyncio.Protocol):
    """A server's TLS, on a plain connection: it sends and ends exactly what a test wants."""

    def __init__(self, context, reply, *, ends=""):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.reply, self.ends = reply, ends
        self.seen = []  # requests, close_notify as "", the end of the connection as None
        self.lost = asyncio.get_running_loop().create_future()
        self.shaken = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.incoming.write(data)
        try:
            self.proceed()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.seen.append(error.reason)
        self.transport.write(self.outgoing.read())

    def proceed(self):
        if not self.shaken:
            self.tls.do_handshake()
            self.shaken = True
        while True:
            request = self.tls.read(65_536).decode()
            self.seen.append(request)
            if not request:
                return
            for record in self.reply:
                self.tls.write(record)
            self.end()

    def end(self):
        if not self.ends:
            return
        if self.ends == "orderly":
            with pytest.raises(ssl.SSLWantReadError):
                self.tls.unwrap()
        self.transport.write(self.outgoing.read())
        self.transport.close()
        raise ssl.SSLWantReadError

    def connection_lost(self, exc):
        self.seen.append(exc)
        self.lost.set_result(None)


@pytest.fixture
async def encrypt(secured):
    """Start a server of Encrypted: `url, accepted = await encrypt(reply, ends=...)`."""
    listeners, peers = [], []

    async def start(*reply, ends="", version=None):
        accepted = []
        if version:
            secured.minimum_version = secured.maximum_version = version

        def accept():
            accepted.append(Encrypted(secured, reply, ends=ends))
            peers.append(accepted[-1])
            return accepted[-1]

        listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        listeners.append(listener)
        return f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", accepted

    yield start
    for listener in listeners:
        listener.close()
    for peer in peers:
        peer.transport.abort()
        await peer.lost


@SECURED
@VERSIONS
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_tls_is_ended_once_and_the_servers_end_is_not_waited_for(
    keep_alive, version, encrypt, carry_out
):
    # RFC 9112 section 9.8; this server never ends it
    url, accepted = await encrypt(SIZED, version=version)
    plan = {"url": url, "keep_alive": keep_alive, "connections": 2, "requests": 6}
    async with asyncio.timeout(20):  # asyncio's transports wait for 30 s
        summary = (await carry_out(**plan)).summary
        for peer in accepted:
            await peer.lost
    assert (summary.succeeded, summary.failed) == (6, 0)
    assert len(accepted) == (2 if keep_alive else 6)
    for peer in accepted:
        *requests, end, lost = peer.seen
        assert all(request.startswith("GET / ") for request in requests)
        assert (end, lost) == ("", None)


@SECURED
@VERSIONS
async def test_a_response_in_several_records_is_one_piece(version, encrypt, carry_out):
    url, accepted = await encrypt(SIZED[:10], SIZED[10:40], SIZED[40:], version=version)
    summary = (await carry_out(url=url, connections=1, requests=50)).summary
    assert (summary.succeeded, summary.failed) == (50, 0)
    assert summary.bytes_received == 50 * len(SIZED)
    assert len(accepted) == 1


@SECURED
async def test_bodies_larger_than_any_buffer_arrive_whole(encrypt, carry_out):
    size = 3_000_000
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    pieces = [reply[at : at + 16_000] for at in range(0, len(reply), 16_000)]
    url, _ = await encrypt(*pieces)
    summary = (await carry_out(url=url, connections=2, requests=6)).summary
    assert (summary.succeeded, summary.failed) == (6, 0)
    assert summary.bytes_received == 6 * len(reply)


@SECURED
@VERSIONS
@pytest.mark.parametrize(
    ("response", "kind"),
    [
        ((SIZED, "orderly"), ""),
        ((SIZED, "torn"), ""),
        ((ENDLESS, "orderly"), ""),
        ((ENDLESS, "torn"), "protocol"),
        ((SIZED[:-2], "orderly"), "protocol"),
        ((SIZED[:-2], "torn"), "protocol"),
        ((b"", "orderly"), "reset"),
        ((b"", "torn"), "reset"),
    ],
)
async def test_only_the_end_of_tls_ends_a_response_without_a_length(
    response, kind, version, encrypt, carry_out
):
    # RFC 9112 section 9.8
    reply, ends = response
    url, _ = await encrypt(*[reply] * bool(reply), ends=ends, version=version)
    plan = {"url": url, "keep_alive": False, "connections": 1, "requests": 3}
    summary = (await carry_out(**plan)).summary
    assert dict(summary.failures) == ({kind: 3} if kind else {})
    assert summary.succeeded == (0 if kind else 3)


@pytest.mark.parametrize("over", ["TLS"])  # a proxy passes on what it can still read itself
@VERSIONS
@pytest.mark.parametrize("ends", ["orderly", "torn"])
async def test_an_early_refusal_is_read_from_a_server_that_reads_no_more(
    ends, version, encrypt, carry_out
):
    # RFC 9112 section 9.5: what of the body has come and is not read makes the end a reset
    url, _ = await encrypt(TOO_LARGE, ends=ends, version=version)
    plan = {"url": url, "method": "POST", "body": bytes(20_000_000), "connections": 2}
    summary = (await carry_out(**plan, requests=6)).summary
    assert dict(summary.failures) == {"status": 6}
    assert summary.status == {413: 6}


@SECURED
@VERSIONS
async def test_a_client_whose_certificate_is_wanted_and_not_there(
    version, secured, encrypt, carry_out, monkeypatch
):
    """With TLS 1.3 the server says so only when the client's handshake is over."""
    ends = []
    lost = Connection.connection_lost
    monkeypatch.setattr(
        Connection, "connection_lost", lambda self, exc: [ends.append(exc), lost(self, exc)]
    )
    secured.verify_mode = ssl.CERT_REQUIRED
    url, _ = await encrypt(SIZED, version=version)
    plan = {"url": url, "connections": 1, "duration_s": 0.1, "keep_alive": False}
    summary = (await carry_out(**plan)).summary
    assert summary.succeeded == 0
    if version == ssl.TLSVersion.TLSv1_3:
        assert set(summary.failures) == {"reset"}
        assert "certificate required" in str(ends[0])
    else:
        assert set(summary.failures) == {"connect"}
        assert set(summary.reasons) == {"SSLV3_ALERT_HANDSHAKE_FAILURE"}


@SECURED
async def test_a_server_that_is_not_trusted_is_told_so(encrypt, carry_out):
    url, accepted = await encrypt(SIZED)
    plan = {"url": url, "connections": 1, "duration_s": 0.1, "tls": TlsOptions()}
    summary = (await carry_out(**plan)).summary
    assert set(summary.failures) == {"connect"}
    assert set(summary.reasons) == {"CERTIFICATE_VERIFY_FAILED"}
    await accepted[0].lost
    assert accepted[0].seen[0] == "TLSV1_ALERT_UNKNOWN_CA"


@OVER
async def test_without_waiting_every_request_arrives(serve, carry_out):
    everything = asyncio.Event()
    server = await serve(lambda peer: len(peer.server.requests) == 20 and everything.set())
    plan = {"url": server.url, "keep_alive": False, "wait": False, "requests": 20}
    summary = (await carry_out(**plan)).summary
    await everything.wait()  # connections are closed before the server has looked
    assert (summary.succeeded, summary.failed) == (20, 0)


@SECURED
async def test_a_handshake_that_never_ends_is_given_up(over, serve_proxy, carry_out):
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with silent:
        url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
        plan = {"url": url, "connections": 1, "duration_s": 0.2, "timeout_s": 0.05}
        summary = (await carry_out(**plan)).summary
    assert set(summary.failures) == {"connect"}
    assert set(summary.reasons) == {"timeout"}
