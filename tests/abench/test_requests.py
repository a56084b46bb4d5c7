"""Requests as the server receives them, and how its responses are counted."""

import asyncio
import gc
import json
import socket
import ssl
from collections import Counter

import pytest

from abench.client.pipelined import PipelinedParser
from abench.errors import UnreachableError
from abench.plan.log_replay import parse_log
from abench.plan.plan import Plan
from abench.plan.route import Route, TlsOptions
from abench.plan.success import SuccessCriteria
from abench.plan.url_file import WeightedUrl
from abench.runner import preflight
from abench.runner.measure import measure
from abench.stats.summary import Summary

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def request_lines(requests: list[bytes]) -> Counter[bytes]:
    return Counter(request.partition(b"\r\n")[0] for request in requests)


async def test_urls_are_requested_as_often_as_their_weights_say(serve, run_plan):
    def script(peer):
        path = peer.server.requests[-1].split()[1]
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    server = await serve(script)
    urls = tuple(WeightedUrl(server.url + name, weight) for name, weight in (("a", 3), ("bc", 1)))
    summary = (await run_plan(url=server.url, urls=urls, connections=3, requests=400)).summary
    assert request_lines(server.requests) == {b"GET /a HTTP/1.1": 300, b"GET /bc HTTP/1.1": 100}
    assert summary.succeeded == 400
    head = len(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    assert summary.bytes_received == 300 * (head + 2) + 100 * (head + 3)


async def test_every_request_of_a_template_has_its_own_number(serve, run_plan):
    server = await serve()
    await run_plan(url=server.url + "{n}", connections=3, requests=50)
    assert request_lines(server.requests) == {b"GET /%d HTTP/1.1" % n: 1 for n in range(1, 51)}


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_head_and_get_take_turns(keep_alive, serve, run_plan):
    def script(peer):
        body = b"" if peer.server.requests[-1].startswith(b"HEAD") else b"hello"
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    log = "".join(
        json.dumps({"ts": n / 1000, "method": method, "uri": "/"}) + "\n"
        for n, method in enumerate(["GET", "HEAD", "HEAD", "GET"] * 5)
    )
    server = await serve(script)
    plan = {"url": server.url, "connections": 2, "replay": parse_log(log.splitlines())}
    summary = (await run_plan(**plan, keep_alive=keep_alive)).summary
    assert summary.succeeded == 20
    assert request_lines(server.requests) == {b"GET / HTTP/1.1": 10, b"HEAD / HTTP/1.1": 10}


@pytest.mark.virtual_time
async def test_a_log_is_replayed_at_its_times(serve, run_plan):
    loop = asyncio.get_running_loop()
    received_at = []

    def script(peer):
        received_at.append(loop.time())
        peer.send(SIZED)

    server = await serve(script)
    log = parse_log(
        json.dumps({"ts": at, "method": "GET", "uri": f"/{at}"}) for at in (1, 1.2, 2, 1.6)
    )
    began_at = loop.time()
    summary = (await run_plan(url=server.url, replay=log, speed=4.0, connections=4)).summary
    assert [request.split()[1] for request in server.requests] == [b"/1", b"/1.2", b"/1.6", b"/2"]
    assert summary.succeeded == summary.started == 4
    # A quarter of 0.2, 0.6 and 1 s.
    assert [at - began_at for at in received_at] == pytest.approx([0, 0.05, 0.15, 0.25])


@pytest.mark.parametrize(
    ("criteria", "outcome"),
    [
        ([], "status"),
        (["404"], ""),
        (["4xx", "body:lo, wor"], ""),
        (["4xx", "body:hello, moon"], "body"),
        (["200", "body:lo, wor"], "status"),
    ],
)
async def test_a_success_is_what_is_expected(criteria, outcome, serve, run_plan):
    def script(peer):  # a text is found across the border of two reads
        peer.send(b"HTTP/1.1 404 X\r\nContent-Length: 12\r\n\r\nhel")
        asyncio.get_running_loop().call_soon(peer.send, b"lo, world")

    server = await serve(script)
    expect = SuccessCriteria.parse(criteria)
    plan = {"url": server.url, "expect": expect, "connections": 2, "requests": 10}
    summary = (await run_plan(**plan)).summary
    assert dict(summary.failures) == ({outcome: 10} if outcome else {})
    assert summary.succeeded == (0 if outcome else 10)
    assert summary.status == {404: 10}


@pytest.mark.parametrize(
    "criteria", [(), ("201", "204"), ("2xx",), ("200", "4xx", "404"), ("2xx", "3xx", "body:a b")]
)
def test_criteria_are_told_in_the_words_that_give_them(criteria):
    expect = SuccessCriteria.parse(criteria)
    assert SuccessCriteria.parse(expect.words()) == expect


async def test_http_0_9_is_a_line_and_bytes_until_the_end(serve, run_plan):
    def accept(peer):
        def data_received(data):
            server.requests.append(data)
            peer.send(b"hello")
            peer.close()

        peer.data_received = data_received

    server = await serve(accept=accept)
    plan = {"url": server.url, "http": "0.9", "keep_alive": False}
    summary = (await run_plan(**plan, connections=2, requests=10)).summary
    assert request_lines(server.requests) == {b"GET /": 10}
    assert (summary.succeeded, summary.bytes_received, summary.status) == (10, 50, {})


def sending_and_closing(response):
    """Return how a server accepts that answers the first bytes it gets, whatever they are."""

    def accept(peer):
        def data_received(_data):
            peer.send(response)
            peer.close()

        peer.data_received = data_received

    return accept


@pytest.mark.parametrize(
    ("response", "outcome"), [(b"", "reset"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "status")]
)
async def test_a_server_without_http_0_9_is_no_success(response, outcome, serve, run_plan):
    server = await serve(accept=sending_and_closing(response))
    plan = {"url": server.url, "http": "0.9", "keep_alive": False, "requests": 4}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, dict(summary.failures)) == (0, {outcome: 4})


async def test_a_pipeline_has_as_many_in_flight_as_its_depth(serve, run_plan):
    deepest = 0

    def script(peer):
        nonlocal deepest
        peer.waiting = getattr(peer, "waiting", 0) + 1
        deepest = max(deepest, peer.waiting)
        if peer.waiting == 4 or len(server.requests) == 40:
            peer.send(SIZED * peer.waiting)
            peer.waiting = 0

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 4, "connections": 1, "requests": 40}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed, summary.unfinished) == (40, 0, 0)
    assert (deepest, server.connections) == (4, 1)
    assert summary.bytes_received == 40 * len(SIZED)


async def test_responses_in_a_pipeline_may_be_of_any_kind_and_cut_anywhere(serve, run_plan):
    kinds = [
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 103 X\r\n\r\n" + SIZED,
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
    ]

    def script(peer):
        for byte in kinds[peer.request_count % 4]:
            peer.send(bytes((byte,)))

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 3, "connections": 1, "requests": 40}
    summary = (await run_plan(**plan)).summary
    assert summary.status == {200: 20, 204: 10, 404: 10}
    assert (summary.succeeded, dict(summary.failures)) == (30, {"status": 10})


async def test_requests_that_a_closing_server_left_unanswered_are_retried(serve, run_plan):
    # RFC 9112 section 9.3.2
    def script(peer):
        if peer.request_count < 3:
            peer.send(SIZED)
        elif peer.request_count == 3:
            peer.send(SIZED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            peer.close()

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 5, "connections": 1, "requests": 12}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, summary.failed, summary.unfinished) == (12, 0, 0)
    assert server.connections == 4


@pytest.mark.parametrize("ending", ["close", "reset"])
async def test_a_lost_pipeline_is_as_many_failures(ending, serve, run_plan):
    """Those on a connection that was open before the run are retried once."""

    def script(peer):
        if peer.request_count == 1:
            getattr(peer, ending)()

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 4, "connections": 1, "requests": 12}
    summary = (await run_plan(**plan)).summary
    assert (summary.succeeded, dict(summary.failures)) == (0, {"reset": 12})
    assert summary.retried == 4


async def test_a_pipeline_keeps_nothing_of_earlier_connections(serve, run_plan):
    """A hostile server could fill the memory with heads, since garbage is rarely collected."""

    def script(peer):
        peer.send(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 1_000)
        peer.close()

    server = await serve(script)
    gc.collect()
    gc.disable()
    try:
        plan = {"url": server.url, "pipeline": 2, "connections": 2, "requests": 40}
        summary = (await run_plan(**plan)).summary
        parsers = [one for one in gc.get_objects() if isinstance(one, PipelinedParser)]
    finally:
        gc.enable()
    assert summary.failed == 40
    assert server.connections >= 20
    assert len(parsers) <= 2


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (b"garbage\r\n\r\n", "protocol"),
        (SIZED * 9, "protocol"),
        (b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhel", "protocol"),
        (b"HTTP/1.1 200 X\r\n\r\nhel", ""),
    ],
)
async def test_a_pipeline_counts_no_incomplete_response(response, kind, serve, run_plan):
    def script(peer):
        if peer.request_count == 1:
            peer.send(response)
            peer.close()

    server = await serve(script)
    plan = {"url": server.url, "pipeline": 2, "connections": 1, "requests": 2}
    summary = (await run_plan(**plan)).summary
    assert set(summary.failures) == ({kind} if kind else set())
    assert summary.succeeded + summary.failed == 2


async def test_a_proxy_gets_the_whole_url(serve, run_plan):
    proxy = await serve()
    route = Route(proxy=f"me:secret@127.0.0.1:{proxy.port}")
    plan = {"url": "http://example.invalid/a", "route": route, "requests": 3}
    summary = (await run_plan(**plan)).summary
    assert summary.succeeded == 3
    assert b"GET http://example.invalid/a HTTP/1.1\r\nHost: example.invalid\r\n" in (
        proxy.requests[0] + b"\r\n"
    )
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.requests[0]


async def test_a_unix_socket(tmp_path, serve, run_plan):
    path = str(tmp_path / "socket")
    server = await serve(path=path)
    plan = {"url": "http://example.invalid/", "route": Route(unix=path), "requests": 30}
    assert (await run_plan(**plan)).summary.succeeded == 30
    assert b"\r\nHost: example.invalid\r\n" in server.requests[0]


async def test_a_missing_unix_socket_is_reported(tmp_path):
    plan = Plan(url="http://h/", route=Route(unix=f"{tmp_path}/none"), requests=1)
    with pytest.raises(UnreachableError, match=r"^cannot reach /.*/none: no such file"):
        preflight.resolve(plan)


async def test_resolve_replaces_the_address_of_a_name(serve, run_plan):
    server = await serve()
    host = f"example.invalid:{server.port}"
    plan = {"url": f"http://{host}/", "route": Route(resolve=f"{host}:127.0.0.1"), "requests": 3}
    assert (await run_plan(**plan)).summary.succeeded == 3
    assert b"Host: " + host.encode() in server.requests[0]


async def test_the_user_chooses_what_is_trusted(certificates, server_context, serve, run_plan):
    server_context.verify_mode = ssl.CERT_REQUIRED
    names = []
    server_context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = await serve(ssl=server_context)
    tls = TlsOptions(
        authority=str(certificates / "ca.pem"),
        certificate=str(certificates / "client.pem"),
        key=str(certificates / "client.key"),
        name="bench.test",
    )
    plan = {"url": f"https://127.0.0.1:{server.port}/", "tls": tls, "requests": 5}
    assert (await run_plan(**plan)).summary.succeeded == 5
    assert set(names) == {"bench.test"}


@pytest.mark.parametrize("insecure", [True, False])
async def test_an_unknown_server_is_trusted_only_with_insecure(insecure, server_context, serve):
    server = await serve(ssl=server_context)
    plan = Plan(
        url=f"https://127.0.0.1:{server.port}/", tls=TlsOptions(insecure=insecure), requests=1
    )
    resolved = asyncio.get_running_loop().run_in_executor(None, preflight.resolve, plan)
    if insecure:
        assert (await resolved).address == "127.0.0.1"
    else:
        with pytest.raises(UnreachableError, match=r"self.signed|unable to get"):
            await resolved


async def test_tls_goes_through_a_proxys_tunnel(
    certificates, server_context, serve, serve_proxy, run_plan
):
    server = await serve(ssl=server_context)

    proxy = await serve_proxy()
    plan = {
        "url": f"https://bench.test:{server.port}/",
        "tls": TlsOptions(authority=str(certificates / "ca.pem")),
        "route": Route(proxy=f"127.0.0.1:{proxy.port}"),
    }
    assert (await run_plan(**plan, connections=2, requests=6)).summary.succeeded == 6
    # RFC 9110 section 9.3.6: the authority, with its port, is all of the target
    line = b"CONNECT bench.test:%d HTTP/1.1\r\nHost: bench.test" % server.port
    assert proxy.requests[0].startswith(line)


async def test_a_proxy_that_refuses_is_reported(serve):
    proxy = await serve(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    route = Route(proxy=f"127.0.0.1:{proxy.port}")
    plan = Plan(url="https://bench.test/", route=route, requests=1)
    resolved = asyncio.get_running_loop().run_in_executor(None, preflight.resolve, plan)
    with pytest.raises(UnreachableError, match="403 Forbidden"):
        await resolved


async def test_a_proxy_that_refuses_in_the_run_is_a_reason_of_its_own(serve, run_plan):
    proxy = await serve(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    route = Route(proxy=f"127.0.0.1:{proxy.port}")
    plan = {"url": "https://bench.test/", "route": route, "connections": 1, "requests": 1}
    summary = (await run_plan(**plan)).summary
    assert set(summary.failures) == {"connect"}
    assert set(summary.reasons) == {"proxy 503"}


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"\x15\x03\x03\x00\x02\x02\x28", "handshake refused"),  # RFC 8446, 6.2
        (b"\x15\x03\x03\x00\x02\x02\x46", "no common version"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not TLS"),
        (b"", "closed in the handshake"),
    ],
)
async def test_what_ends_a_tls_handshake_is_a_reason_of_its_own(response, reason, serve, run_plan):
    server = await serve(accept=sending_and_closing(response))
    plan = {"url": f"https://127.0.0.1:{server.port}/", "connections": 1, "requests": 1}
    summary = (await run_plan(**plan)).summary
    assert summary.failures == {"tls": 1}
    assert set(summary.reasons) == {reason}


async def test_a_server_that_never_ends_tls_delays_nothing(server_context, run_plan):
    """Its close_notify is not waited for once the response is complete (RFC 9112, 9.8)."""
    loop = asyncio.get_running_loop()
    open_sockets = []

    def respond(listener):
        for _ in range(3):
            raw, _ = listener.accept()
            sock = server_context.wrap_socket(raw, server_side=True)
            open_sockets.append(sock)
            sock.recv(65536)
            sock.sendall(SIZED)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        responding = loop.run_in_executor(None, respond, listener)
        plan = {"url": url, "keep_alive": False, "connections": 1, "requests": 3}
        async with asyncio.timeout(20):  # one wait takes 30 s with asyncio's loop
            summary = (await run_plan(**plan, tls=TlsOptions(insecure=True))).summary
        await responding
    for sock in open_sockets:
        sock.close()
    assert (summary.succeeded, summary.failed) == (3, 0)


def test_the_arguments_of_a_program_that_runs_abench_stay_secret(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--secret", "hidden"])
    plan = Plan(url="http://me:hidden@h/", headers=(("X-Key", "hidden"),), requests=3)
    report = measure(plan, runner=lambda _plan, _watch: Summary())
    assert report.environment.command[:2] == ("abench", "http://h/")
    assert "hidden" not in str(report.environment)
    assert "requests=3" in report.environment.command
