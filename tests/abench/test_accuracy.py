"""What is reported against what was done: a server that delays, and writes down by how much.

The machine that runs this may be busy, so each truth is what the server itself measured, and the
tolerance is that of the issue or what the slower of both clocks allows.
"""

import asyncio
import itertools
import time

import pytest

pytestmark = pytest.mark.alone

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PERCENTILES = (50, 90, 99)


class Delaying:
    """A script that answers after delays in turn, and keeps when each request came and left."""

    def __init__(self, *delays_s):
        self.delays = itertools.cycle(delays_s)
        self.took_us = []

    def __call__(self, peer):
        came = time.perf_counter_ns()

        def answer():
            self.took_us.append((time.perf_counter_ns() - came) // 1000)
            peer.send(REPLY)

        asyncio.get_running_loop().call_later(next(self.delays), answer)


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def assert_alike(latency, truth, extra_us=1_000):
    """Within 1 %, or what loopback and the server's own loop add on a machine that is shared."""
    for percent in PERCENTILES:
        true, found = percentile(truth, percent), latency[f"p{percent}"]
        assert true - 200 <= found <= 1.01 * true + extra_us, (percent, true, found)


@pytest.mark.parametrize(
    "delays",
    # No percentile that is asked for lies where one delay gives way to the other.
    [(0.02,), (0.001, 0.001, 0.02), (0.005,) * 7 + (0.08,)],
    ids=["fixed", "bimodal", "tail"],
)
@pytest.mark.parametrize("load", [("-c4",), ("-c20", "-R300")], ids=["closed loop", "schedule"])
async def test_percentiles_are_those_of_the_server(serve, abench, delays, load):
    script = Delaying(*delays)
    server = await serve(script)
    ran = await abench(*load, "-w1", "-n200", "--json", "-", server.url)
    assert len(script.took_us) == ran.json["requests"]["succeeded"] == 200
    assert_alike(ran.json["latency"]["service"], script.took_us)
    if "-R300" in load:
        assert_alike(ran.json["latency"]["response"], script.took_us)


async def test_a_freeze_shows_in_response_time_as_theory_says(serve, carry_out):
    """The server stands still for 0.5 s; 200 requests a second are due all the while.

    Those that become due in the freeze wait for its end, evenly from 0.5 s down to none: of the
    400 requests of 2 s a hundred, so that a response time of the slowest quarter is
    4 * 0.5 s * (share - 0.75). With four connections a closed loop would have shown four slow ones.
    """
    frozen = []

    def script(peer):
        if len(server.requests) == 100:
            asyncio.get_running_loop().call_later(0.5, thaw)
            frozen.append(peer)
        elif frozen:
            frozen.append(peer)
        else:
            peer.send(REPLY)

    def thaw():
        waiting, frozen[:] = list(frozen), []
        for peer in waiting:
            peer.send(REPLY)

    server = await serve(script)
    plan = {"url": server.url, "connections": 4, "rate": 200, "duration_s": 2}
    summary = (await carry_out(**plan)).summary
    assert summary.succeeded + summary.unfinished == summary.started
    assert summary.started + summary.skipped == pytest.approx(400, abs=2)
    for share in (0.80, 0.90, 0.95, 0.99):
        expected_us = 4 * 500_000 * (share - 0.75)
        found = summary.response.percentiles([100 * share])[100 * share]
        assert found == pytest.approx(expected_us, abs=30_000), share
    slow = sum(count for _, us, count in summary.service.spectrum() if us > 100_000)
    assert slow == 4
