"""How connections behave: pauses, requests per connection, bandwidth, addresses."""

import asyncio
import contextlib
import json
import pickle
import socket
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from abench.cli.plan_options import plan_from_options
from abench.client import connector
from abench.client.connector import connector_for
from abench.client.factory import connection_class
from abench.client.paced_transport import PacedTransport
from abench.client.socket_transport import SocketPoller
from abench.client.user import User
from abench.errors import ParameterError, UnreachableError
from abench.plan.behavior import Behavior, parse_think_time
from abench.plan.plan import Plan
from abench.plan.route import DIRECT, Route
from abench.report import document
from abench.runner import preflight
from abench.stats import phrases
from abench.stats.bottleneck import find_bottleneck
from abench.stats.histogram import Histogram
from abench.stats.results import build_results
from abench.stats.summary import Summary
from tests.abench.conftest import OK_RESPONSE, TRANSPORTS

URL = "http://127.0.0.1:1/"


# Think time.


def recording_times(times):
    def script(peer):
        times.setdefault(peer, []).append(asyncio.get_running_loop().time())
        peer.send(OK_RESPONSE)

    return script


@pytest.mark.virtual_time
async def test_a_user_pauses_between_a_response_and_the_next_request(serve, run_plan):
    times = {}
    server = await serve(recording_times(times))
    behavior = Behavior(think_s=(2.0, 2.0))
    began_at = asyncio.get_running_loop().time()
    summary = (
        await run_plan(url=server.url, connections=5, duration_s=21, behavior=behavior)
    ).summary
    firsts = [own[0] - began_at for own in times.values()]
    assert all(0 <= first <= 2 for first in firsts)
    assert len(set(firsts)) == 5  # not in step
    for own in times.values():
        assert [after - before for before, after in pairwise(own)] == (
            pytest.approx([2.0] * (len(own) - 1))
        )
    assert summary.succeeded == sum(map(len, times.values()))
    assert summary.service.max_us == 0  # the pause is not in the service time


@pytest.mark.virtual_time
async def test_pauses_are_drawn_evenly(serve, run_plan):
    times = {}
    server = await serve(recording_times(times))
    behavior = Behavior(think_s=(0.01, 0.03))
    await run_plan(url=server.url, connections=1, requests=400, behavior=behavior)
    (own,) = times.values()
    pauses = [after - before for before, after in pairwise(own)]
    assert 0.01 <= min(pauses) < 0.0105
    assert 0.0295 < max(pauses) <= 0.0301
    assert sum(pauses) / len(pauses) == pytest.approx(0.02, abs=0.0015)  # 5 standard errors


@pytest.mark.virtual_time
async def test_users_that_think_are_no_outage(serve, run_plan):
    """A silence is a time in which a response was awaited."""
    server = await serve()
    behavior = Behavior(think_s=(5.0, 5.0))
    summary = (
        await run_plan(url=server.url, connections=1, duration_s=12, behavior=behavior)
    ).summary
    begin_ms, end_ms = summary.answering.longest_gap(12_000)
    assert end_ms - begin_ms < 1_000


@pytest.mark.virtual_time
async def test_a_connection_that_is_lost_meanwhile_is_opened_for_the_next_request(serve, run_plan):
    def script(peer):
        peer.send(OK_RESPONSE)
        asyncio.get_running_loop().call_later(1, peer.close)

    server = await serve(script)
    behavior = Behavior(think_s=(2.0, 2.0))
    summary = (await run_plan(url=server.url, connections=1, requests=3, behavior=behavior)).summary
    assert (summary.succeeded, summary.failed, server.connections) == (3, 0, 3)


@pytest.mark.parametrize(
    ("text", "think_s"),
    [("2s", (2, 2)), ("500ms-1m", (0.5, 60)), ("0-2", (0, 2)), ("2s-1s", None), ("0", None),
     ("-1", None), ("x", None), ("1s-", None), ("nan", None), ("2h", None)],
)  # fmt: skip
def test_a_think_time(text, think_s):
    if think_s:
        assert parse_think_time(text) == think_s
    else:
        with pytest.raises(ParameterError, match="--think-time"):
            parse_think_time(text)


@given(st.text(alphabet="0123456789.smhd-e ainf\u0661", max_size=12))
@example("1s-")
@example("-")
@example("1e400")
def test_any_text_is_a_think_time_or_refused(text):
    with contextlib.suppress(ParameterError):
        shortest, longest = parse_think_time(text)
        assert 0 <= shortest <= longest <= 3600
        assert longest > 0


# Requests per connection.


@TRANSPORTS
@pytest.mark.parametrize("plan", [{}, {"rate": 1000.0}])
async def test_a_connection_is_opened_anew_after_some_requests(plan, serve, run_plan):
    counts = []

    def script(peer):
        if peer.request_count == 1:
            counts.append(peer)
        peer.send(OK_RESPONSE)

    server = await serve(script)
    behavior = Behavior(requests_per_connection=3)
    summary = (
        await run_plan(url=server.url, connections=1, requests=8, behavior=behavior, **plan)
    ).summary
    assert (summary.succeeded, summary.retried) == (8, 0)
    assert [peer.request_count for peer in counts] == [3, 3, 2]


# Bandwidth.


@pytest.mark.virtual_time
@pytest.mark.parametrize("size", [100, 5_000, 20_001])
async def test_a_response_takes_as_long_as_on_a_line_of_that_rate(size, serve, run_plan):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    server = await serve(head + b"x" * size)
    plan = {"connections": 2, "requests": 6, "behavior": Behavior(bandwidth=10_000)}
    summary = (await run_plan(url=server.url, timeout_s=100, **plan)).summary
    wanted_us = (len(server.requests[0]) + 4 + len(head) + size) / 10_000 * 1e6
    assert summary.succeeded == 6
    # Whole microseconds, and the buckets of the histogram.
    assert summary.service.min_us == pytest.approx(wanted_us, rel=0.002, abs=1_000)
    assert summary.service.max_us == pytest.approx(wanted_us, rel=0.002, abs=1_000)


@pytest.mark.virtual_time
@pytest.mark.parametrize("size", [100, 5_000, 20_001])
async def test_a_request_takes_as_long_as_on_a_line_of_that_rate(size, serve, run_plan):
    server = await serve()
    server.script = after_bodies(server.script, size)
    plan = {"connections": 2, "requests": 6, "behavior": Behavior(bandwidth=10_000)}
    summary = (
        await run_plan(url=server.url, timeout_s=100, method="POST", body=b"y" * size, **plan)
    ).summary
    wanted_us = (len(server.requests[0]) + 4 + size + len(OK_RESPONSE)) / 10_000 * 1e6
    assert summary.succeeded == 6
    assert summary.service.min_us == pytest.approx(wanted_us, rel=0.002, abs=1_000)
    assert summary.service.max_us == pytest.approx(wanted_us, rel=0.002, abs=1_000)


@pytest.mark.virtual_time
async def test_a_slow_client_costs_few_wake_ups(serve, run_plan, monkeypatch):
    """While nothing may be read, what has arrived is no event."""
    reads = []
    read = PacedTransport._receive_paced
    monkeypatch.setattr(
        PacedTransport,
        "_receive_paced",
        lambda self, buffer: reads.append(1) or read(self, buffer),
    )
    body = b"x" * 20_000
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + body)
    plan = {"connections": 1, "requests": 1, "behavior": Behavior(bandwidth=10_000)}
    await run_plan(url=server.url, timeout_s=100, **plan)
    chunks = 20_000 / 256
    assert len(reads) < 3.2 * chunks


@TRANSPORTS
async def test_a_paced_connection_loses_nothing(transport, serve, run_plan):
    size = 50_000
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    plan = {"connections": 3, "requests": 9, "method": "POST", "body": b"y" * 50_000}
    behavior = Behavior(bandwidth=20_000_000, requests_per_connection=2)
    server.script = after_bodies(server.script, 50_000)
    summary = (await run_plan(url=server.url, behavior=behavior, **plan)).summary
    assert (summary.succeeded, summary.failed) == (9, 0)
    assert summary.bytes_received > 9 * size


def after_bodies(respond, size):
    """Return a script for requests with a body; a peer reads heads only, and so takes it itself."""

    def script(peer):
        received = len(peer._pending)
        take = peer.data_received

        def data_received(data):
            nonlocal received
            received += len(data)
            if received >= size:
                peer._pending, peer.data_received = b"", take
                respond(peer)

        peer.data_received = data_received
        data_received(b"")

    return script


async def test_a_closed_connection_stops_its_pause(serve):
    server = await serve(accept=lambda peer: peer.send(b"x" * 10_000))
    events, lost = [], asyncio.Event()
    view = memoryview(bytearray(65_536))

    class Client:
        get_buffer = staticmethod(lambda _hint: view)
        buffer_updated = staticmethod(events.append)

        def opened(self, _times):
            events.append("opened")

        def connection_made(self, _transport):
            events.append("made")

        def connection_lost(self, _error):
            lost.set()

    loop = asyncio.get_running_loop()
    poller = SocketPoller(loop)
    address = ("127.0.0.1", server.port)
    transport = PacedTransport(poller, Client(), socket.AF_INET, address, bandwidth=100)
    paused = asyncio.Event()
    apply_events = transport._apply_events
    transport._apply_events = lambda: (apply_events(), transport._down.is_busy and paused.set())
    transport.connect()
    await paused.wait()
    transport.close()
    assert not transport._down.is_busy
    await lost.wait()
    poller.close()
    assert events == ["opened", "made"]


def test_the_kernel_takes_little_ahead_of_a_slow_line():
    async def made(bandwidth):
        poller = SocketPoller(asyncio.get_running_loop())

        class Client:
            get_buffer = staticmethod(lambda _hint: memoryview(bytearray(9)))
            buffer_updated = None

        transport = PacedTransport(poller, Client(), socket.AF_INET, None, bandwidth=bandwidth)
        size = transport._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        transport._socket.close()
        poller.close()
        return size

    slow, fast = asyncio.run(made(20_000)), asyncio.run(made(20_000_000))
    assert slow == 2 * 10_000  # socket(7): the kernel doubles it
    assert fast > 100_000


# What does not go together.


@pytest.mark.parametrize(
    ("behavior", "plan", "option"),
    [
        ({"think_s": (1, 1)}, {"rate": 1}, "--think-time"),
        ({"think_s": (2, 1)}, {}, "--think-time"),
        ({"requests_per_connection": 1}, {}, "--requests-per-connection"),
        ({"requests_per_connection": 2}, {"keep_alive": False}, "--requests-per-connection"),
        ({"bandwidth": 99}, {}, "--bandwidth"),
        ({"bandwidth": 10**10 + 1}, {}, "--bandwidth"),
        ({"follow": True}, {"pipeline": 2}, "--follow"),
        ({"cookies": True}, {"http": "0.9", "keep_alive": False}, "--cookies"),
        ({"cookies": True}, {"wait": False, "keep_alive": False}, "--cookies"),
    ],
)
def test_what_does_not_go_together_is_refused(behavior, plan, option):
    with pytest.raises(ParameterError, match=f"^{option}: "):
        Plan(url=URL, behavior=Behavior(**behavior), **plan)


def test_a_plan_with_a_behavior_can_be_pickled_and_split():
    plan = Plan(url=URL, behavior=Behavior((1, 2), 3, 1_000, follow=True, cookies=True))
    parts = pickle.loads(pickle.dumps(plan)).split(2)
    assert all(part.behavior == plan.behavior for part in parts)


# Addresses.


def resolving_to(monkeypatch, *addresses):
    """Let every name have these addresses, and each address itself."""
    real = socket.getaddrinfo

    def resolve(host, port, *, family, type):  # noqa: A002
        hosts = [host] if host in addresses else addresses
        found = [each for one in hosts for each in real(one, port, type=type)]
        found = [each for each in found if family in (0, each[0])]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    monkeypatch.setattr(connector.socket, "getaddrinfo", resolve)


async def test_connections_are_spread_over_all_addresses_that_accept(serve, run_plan, monkeypatch):
    server = await serve(host="0.0.0.0")
    resolving_to(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.4")
    monkeypatch.setattr(connector, "_connect_once", refusing("127.0.0.3"))
    url = f"http://some.test:{server.port}/"
    plan = Plan(url=url, connections=8, route=Route(all_addresses=True))
    addresses = (await asyncio.to_thread(preflight.resolve, plan)).addresses
    assert addresses == ("127.0.0.2", "127.0.0.4")
    plan = {"url": url, "connections": 8, "requests": 40, "addresses": addresses}
    summary = (await run_plan(**plan)).summary
    assert summary.succeeded == 40
    assert summary.addresses == {"127.0.0.2": 4, "127.0.0.4": 4}


def refusing(refused):
    def connect_once(_plan, _family, address):
        if address[0] == refused:
            raise ConnectionRefusedError(111, "Connection refused")

    return connect_once


async def test_shares_begin_at_different_addresses(monkeypatch):
    addresses = "127.0.0.2", "127.0.0.3"
    resolving_to(monkeypatch, *addresses)
    plan = Plan(url=URL, connections=2, workers=2, addresses=addresses)
    connectors = [connector_for(share) for share in plan.split(2)]
    assert [next(each._turns)[1][0] for each in connectors] == list(addresses)
    for each in connectors:
        each.close()


@pytest.mark.parametrize(
    ("version", "address"), [(None, "127.0.0.2"), (4, "127.0.0.2"), (6, "::1")]
)
def test_an_ip_version_is_chosen(version, address, monkeypatch):
    resolving_to(monkeypatch, "127.0.0.2", "::1")
    monkeypatch.setattr(connector, "_connect_once", refusing(None))
    plan = Plan(url="http://some.test/", route=Route(ip_version=version))
    assert preflight.resolve(plan).address == address


def test_a_name_without_an_address_of_the_version_is_unreachable(monkeypatch):
    resolving_to(monkeypatch, "127.0.0.2")
    with pytest.raises(UnreachableError, match="not known"):
        preflight.resolve(Plan(url="http://some.test/", route=Route(ip_version=6)))


@pytest.mark.parametrize("all_addresses", [True, False])
def test_a_server_that_refuses_on_all_addresses_is_unreachable(all_addresses, monkeypatch):
    resolving_to(monkeypatch, "127.0.0.2")
    monkeypatch.setattr(connector, "_connect_once", refusing("127.0.0.2"))
    plan = Plan(url="http://some.test/", route=Route(all_addresses=all_addresses))
    with pytest.raises(UnreachableError, match="refused"):
        preflight.resolve(plan)


@pytest.mark.parametrize(
    "route",
    [
        Route(unix="/x", ip_version=4), Route(unix="/x", all_addresses=True), Route(ip_version=5),
        Route(proxy="h:1", all_addresses=True),
        Route(resolve="127.0.0.1:1:::1", all_addresses=True),
    ],
)  # fmt: skip
def test_routes_without_these_addresses_are_refused(route):
    with pytest.raises(ParameterError):
        Plan(url=URL, route=route)


@pytest.mark.parametrize("plan", [{}, {"keep_alive": False}, {"rate": 1}, {"stages": "1s@1"}])
def test_what_is_off_is_another_class(plan):
    """Plain connections have none of it: not a branch, not a field."""
    classes = [
        connection_class(Plan(url=URL, behavior=behavior, **plan))
        for behavior in (Behavior(), Behavior(bandwidth=1_000), Behavior(cookies=True))
    ]
    assert [issubclass(one, User) for one in classes] == [False, False, True]
    assert issubclass(classes[2], classes[0])


# Options and reports.


def test_options_are_a_behavior_and_a_route():
    plan = plan_from_options(
        [URL], think_time="1s-3s", requests_per_connection=5, bandwidth=1_000, follow=True,
        cookies=True, ipv6=True, all_addresses=True,
    )  # fmt: skip
    assert plan.behavior == Behavior((1, 3), 5, 1_000, follow=True, cookies=True)
    assert (plan.route.ip_version, plan.route.all_addresses) == (6, True)
    with pytest.raises(ParameterError, match="-4 and -6"):
        plan_from_options([URL], ipv4=True, ipv6=True)


def report_of(summary, route=DIRECT, **behavior):
    plan = Plan(url=URL, connections=2, behavior=Behavior(**behavior), route=route, duration_s=10)
    return build_results(plan, summary)


def again(report):
    return document.from_document(json.loads(json.dumps(document.to_document(report))))


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        ({"think_s": (2.0, 2.0)}, "a pause of 2 s after each response"),
        ({"think_s": (0.5, 3.0)}, "a pause of 500 ms to 3 s after each response"),
        ({"requests_per_connection": 1_000}, "1,000 requests on each"),
        ({"bandwidth": 20_000}, "at most 20.0 kB/s on each"),
        ({"cookies": True}, "cookies kept"),
        ({"follow": True}, "3 redirects followed"),
        ({"route": Route(ip_version=6)}, "IPv6 only"),
        ({}, "connecting to 127.0.0.1 (1), ::1 (2)"),
    ],
)
def test_a_report_has_its_conditions_and_can_be_read_back(behavior, words):
    addresses = Counter() if behavior else Counter({"127.0.0.1": 1, "::1": 2})
    summary = Summary(elapsed_ns=10**10, followed=3, addresses=addresses)
    report = report_of(summary, **behavior)
    same = again(report)
    assert (same.plan.behavior, same.followed) == (report.plan.behavior, 3)
    assert (same.plan.route, same.addresses) == (report.plan.route, report.addresses)
    assert phrases.describe_load(same) == phrases.describe_load(report)
    assert phrases.describe_load(report).endswith(f", {words}")


def loaded(succeeded, took_us, received):
    return Summary(
        elapsed_ns=10**10, service=Histogram.of([took_us] * succeeded), bytes_received=received
    )


@pytest.mark.parametrize(
    ("behavior", "summary", "limiter"),
    [
        ({"think_s": (1.0, 1.0)}, loaded(10, 1_000, 0), "schedule"),
        ({"think_s": (0.1, 0.1)}, loaded(100, 150_000, 0), None),  # it waits for longer
        ({"bandwidth": 1_000}, loaded(10, 900_000, 18_000), "schedule"),
        ({"bandwidth": 1_000}, loaded(10, 900_000, 5_000), None),
    ],
)
def test_what_was_asked_for_is_no_limit_of_the_server(behavior, summary, limiter):
    found = find_bottleneck(report_of(summary, **behavior))
    assert (found.limiter == "schedule") == (limiter == "schedule")
    assert any("the others were thinking" in line for line in found.evidence) == (
        "think_s" in behavior
    )
