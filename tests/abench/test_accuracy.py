"""Reported against true latencies: a server delays responses and records by how much.

The machine that runs this may be busy, so each true value is what the server itself measured, and
the tolerance is 1 % or what the slower of both clocks allows. Another process that takes the
processor away spoils one run; an error of the tool shows in each.
"""

import asyncio
import itertools
import time

import pytest

pytestmark = pytest.mark.alone

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PERCENTILES = (50, 90, 99)
# The first request on each connection waits for accept: with so many, these are below 1 %.
REQUESTS = 600
RUNS = 3


class Delaying:
    """A script that responds after delays in turn, and records when requests came and left."""

    def __init__(self, *delays_s):
        self.delays = itertools.cycle(delays_s)
        self.came_us, self.left_us = [], []

    def __call__(self, peer):
        number = len(self.came_us)
        self.came_us.append(time.perf_counter_ns() // 1000)
        self.left_us.append(None)

        def respond():
            self.left_us[number] = time.perf_counter_ns() // 1000
            peer.send(RESPONSE)

        asyncio.get_running_loop().call_later(next(self.delays), respond)

    @property
    def service(self):
        """The service time of each request, in us."""
        return [left - came for came, left in zip(self.came_us, self.left_us, strict=True)]

    def response(self, rate):
        """How long after it was due each was answered, in us, if the earliest came in time."""
        due_us = [1e6 / rate * number for number in range(len(self.came_us))]
        start = min(came - due for came, due in zip(self.came_us, due_us, strict=True))
        return [left - start - due for left, due in zip(self.left_us, due_us, strict=True)]


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


def deviations(latency, truth, extra_us=1_000):
    """Return the percentiles that are off, as (true, found).

    Found may be 1 % more, plus what two wake-ups of a sleeping processor add, which the server
    cannot see: a plain blocking client found 0.4 ms more at the median, and 0.5 to 0.8 at p99.
    """
    pairs = {each: (percentile(truth, each), latency[f"p{each}"]) for each in PERCENTILES}
    return {
        each: (true, found)
        for each, (true, found) in pairs.items()
        if not true - 200 <= found <= 1.01 * true + extra_us
    }


@pytest.mark.parametrize(
    "delays",
    # None of the percentiles lies at the border between two delays.
    [(0.01,), (0.001, 0.001, 0.01), (0.004,) * 7 + (0.04,)],
    ids=["fixed", "bimodal", "tail"],
)
@pytest.mark.parametrize("rate", [None, 300], ids=["closed loop", "schedule"])
async def test_percentiles_are_those_of_the_server(serve, abench, delays, rate):
    load = ("-c20", f"-R{rate}") if rate else ("-c4",)
    off = []
    for _ in range(RUNS):
        script = Delaying(*delays)
        server = await serve(script)
        ran = await abench(*load, "-w1", f"-n{REQUESTS}", "--json", "-", server.url)
        assert len(script.service) == ran.json["requests"]["succeeded"] == REQUESTS
        off.append([deviations(ran.json["latency"]["service"], script.service)])
        if rate:
            off[-1].append(deviations(ran.json["latency"]["response"], script.response(rate)))
        if not any(off[-1]):
            return
    pytest.fail(f"true and found, in each run: {off}")


async def test_a_freeze_shows_in_response_time_as_theory_says(serve, run_plan):
    """The server is frozen for 0.5 s, while 200 requests a second become due.

    Those that become due in the freeze wait for its end, evenly from 0.5 s down to 0. They are a
    hundred of the 400 requests in 2 s: so a response time in the slowest quarter is
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
            peer.send(RESPONSE)

    def thaw():
        waiting, frozen[:] = list(frozen), []
        for peer in waiting:
            peer.send(RESPONSE)

    server = await serve(script)
    plan = {"url": server.url, "connections": 4, "rate": 200, "duration_s": 2}
    summary = (await run_plan(**plan)).summary
    assert summary.succeeded + summary.unfinished == summary.started
    assert summary.started + summary.skipped == pytest.approx(400, abs=2)
    for share in (0.80, 0.90, 0.95, 0.99):
        expected_us = 4 * 500_000 * (share - 0.75)
        found = summary.response.percentiles([100 * share])[100 * share]
        assert found == pytest.approx(expected_us, abs=30_000), share
    slow = sum(count for _, us, count in summary.service.spectrum() if us > 100_000)
    assert slow == 4
