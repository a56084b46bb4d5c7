"""TLS as a server sees it: how connections end, and the name of each error."""

import asyncio
import ssl

import pytest

from abench.client.connection import Connection
from abench.plan.route import TlsOptions
from tests.abench.conftest import TRANSPORTS
from tests.marks import slow, slow_except

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
ENDLESS = b"HTTP/1.1 200 OK\r\n\r\nhello"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
WITH_TLS = pytest.mark.parametrize("transport", ["TLS", slow("TLS through a proxy")])
TLS_VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = pytest.mark.parametrize("version", TLS_VERSIONS)


@WITH_TLS
@VERSIONS
@pytest.mark.parametrize("keep_alive", [True, False])
async def test_tls_is_closed_once_and_the_servers_close_is_not_awaited(
    keep_alive, version, serve_tls, run_plan
):
    # RFC 9112 section 9.8; this server never ends it
    url, accepted = await serve_tls(SIZED, version=version)
    plan = {"url": url, "keep_alive": keep_alive, "connections": 2, "requests": 6}
    async with asyncio.timeout(20):  # asyncio's transports wait for 30 s
        summary = (await run_plan(**plan)).summary
        for peer in accepted:
            await peer.lost
    assert (summary.succeeded, summary.failed) == (6, 0)
    assert len(accepted) == (2 if keep_alive else 6)
    for peer in accepted:
        *requests, end, lost = peer.seen
        assert all(request.startswith("GET / ") for request in requests)
        assert (end, lost) == ("", None)


@WITH_TLS
@VERSIONS
async def test_a_response_in_several_records_is_one_read(version, serve_tls, run_plan):
    url, accepted = await serve_tls(SIZED[:10], SIZED[10:40], SIZED[40:], version=version)
    summary = (await run_plan(url=url, connections=1, requests=50)).summary
    assert (summary.succeeded, summary.failed) == (50, 0)
    assert summary.bytes_received == 50 * len(SIZED)
    assert len(accepted) == 1


@WITH_TLS
async def test_bodies_larger_than_any_buffer_are_complete(serve_tls, run_plan):
    size = 3_000_000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    records = [response[at : at + 16_000] for at in range(0, len(response), 16_000)]
    url, _ = await serve_tls(*records)
    summary = (await run_plan(url=url, connections=2, requests=6)).summary
    assert (summary.succeeded, summary.failed) == (6, 0)
    assert summary.bytes_received == 6 * len(response)


@WITH_TLS
@pytest.mark.parametrize("version", slow_except(TLS_VERSIONS, ssl.TLSVersion.TLSv1_3))
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
async def test_only_close_notify_ends_a_response_without_a_length(
    response, kind, version, serve_tls, run_plan
):
    # RFC 9112 section 9.8
    data, ends = response
    url, _ = await serve_tls(*[data] * bool(data), ends=ends, version=version)
    plan = {"url": url, "keep_alive": False, "connections": 1, "requests": 3}
    summary = (await run_plan(**plan)).summary
    assert dict(summary.failures) == ({kind: 3} if kind else {})
    assert summary.succeeded == (0 if kind else 3)


@pytest.mark.parametrize("transport", ["TLS"])  # a proxy forwards what it can still read itself
@VERSIONS
@pytest.mark.parametrize("ends", ["orderly", "torn"])
async def test_an_early_refusal_is_read_from_a_server_that_reads_no_more(
    ends, version, serve_tls, run_plan
):
    # RFC 9112 section 9.5: unread bytes of the body make the close a reset
    url, _ = await serve_tls(TOO_LARGE, ends=ends, version=version)
    plan = {"url": url, "method": "POST", "body": bytes(12_000_000), "connections": 2}
    summary = (await run_plan(**plan, requests=6)).summary
    assert dict(summary.failures) == {"status": 6}
    assert summary.status == {413: 6}


@WITH_TLS
@VERSIONS
async def test_a_missing_client_certificate(
    version, server_context, serve_tls, run_plan, monkeypatch
):
    """With TLS 1.3 the server rejects it only after the handshake of the client."""
    ends = []
    lost = Connection.connection_lost
    monkeypatch.setattr(
        Connection, "connection_lost", lambda self, exc: [ends.append(exc), lost(self, exc)]
    )
    server_context.verify_mode = ssl.CERT_REQUIRED
    url, _ = await serve_tls(SIZED, version=version)
    plan = {"url": url, "connections": 1, "requests": 2, "keep_alive": False}
    summary = (await run_plan(**plan)).summary
    assert summary.succeeded == 0
    if version == ssl.TLSVersion.TLSv1_3:
        assert set(summary.failures) == {"reset"}
        assert "certificate required" in str(ends[0])
    else:
        assert set(summary.failures) == {"tls"}
        assert set(summary.reasons) == {"handshake refused"}


@WITH_TLS
async def test_an_untrusted_server_gets_an_alert(serve_tls, run_plan):
    url, accepted = await serve_tls(SIZED)
    plan = {"url": url, "connections": 1, "requests": 2, "tls": TlsOptions()}
    summary = (await run_plan(**plan)).summary
    assert set(summary.failures) == {"tls"}
    assert set(summary.reasons) == {"unknown authority"}
    await accepted[0].lost
    assert accepted[0].seen[0] == "TLSV1_ALERT_UNKNOWN_CA"


@TRANSPORTS
async def test_without_waiting_every_request_arrives(serve, run_plan):
    everything = asyncio.Event()
    server = await serve(lambda peer: len(peer.server.requests) == 20 and everything.set())
    plan = {"url": server.url, "keep_alive": False, "wait": False, "requests": 20}
    summary = (await run_plan(**plan)).summary
    await everything.wait()  # connections are closed before the server has read
    assert (summary.succeeded, summary.failed) == (20, 0)


@WITH_TLS
async def test_a_handshake_that_never_ends_times_out(transport, serve_proxy, run_plan):
    silent = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with silent:
        url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/"
        plan = {"url": url, "connections": 1, "requests": 2, "timeout_s": 0.05}
        summary = (await run_plan(**plan)).summary
    assert set(summary.failures) == {"tls"}
    assert set(summary.reasons) == {"handshake timeout"}
