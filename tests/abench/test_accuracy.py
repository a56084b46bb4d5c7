"""Reported against true latencies: a server delays responses and records by how much.

In virtual time, where nothing else takes any, both are the same. In true time the machine may be
busy, and what it adds is real: then no reported latency is shorter than the server's own.
"""

import asyncio
import itertools

import pytest

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PERCENTILES = (50, 90, 99)
PRECISION = 0.001  # of a histogram
# None of the percentiles lies at the border between two delays.
DELAYS = pytest.mark.parametrize(
    "delays",
    [(0.01,), (0.001, 0.001, 0.01), (0.004,) * 7 + (0.04,)],
    ids=["fixed", "bimodal", "tail"],
)
RATES = pytest.mark.parametrize("rate", [None, 300], ids=["closed loop", "schedule"])


def now_us():
    return round(asyncio.get_running_loop().time() * 1e6)


class Delaying:
    """A script that responds after delays in turn, and records when requests came and left."""

    def __init__(self, *delays_s):
        self.delays = itertools.cycle(delays_s)
        self.came_us, self.left_us = [], []

    def __call__(self, peer):
        number = len(self.came_us)
        self.came_us.append(now_us())
        self.left_us.append(None)

        def respond():
            self.left_us[number] = now_us()
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


def load(rate):
    return {"connections": 20, "rate": rate} if rate else {"connections": 4}


@pytest.mark.virtual_time
@DELAYS
@RATES
async def test_percentiles_are_those_of_the_server(serve, run_plan, delays, rate):
    script = Delaying(*delays)
    server = await serve(script)
    summary = (await run_plan(url=server.url, requests=600, **load(rate))).summary
    pairs = [(summary.service, script.service)]
    if rate:
        pairs.append((summary.response, script.response(rate)))
    for found, truth in pairs:
        assert len(truth) == found.count == 600
        for each, value in found.percentiles(PERCENTILES).items():
            assert value == pytest.approx(percentile(truth, each), rel=PRECISION, abs=1)


@pytest.mark.slow
@DELAYS
@RATES
async def test_no_percentile_is_lower_than_that_of_the_server(serve, abench, delays, rate):
    script = Delaying(*delays)
    server = await serve(script)
    options = ("-c20", f"-R{rate}") if rate else ("-c4",)
    ran = await abench(*options, "-w1", "-n300", "--json", "-", server.url)
    assert len(script.service) == ran.json["requests"]["succeeded"] == 300
    latency = ran.json["latency"]
    pairs = [(latency["service"], script.service)]
    if rate:
        pairs.append((latency["response"], script.response(rate)))
    for found, truth in pairs:
        for each in PERCENTILES:
            assert found[f"p{each}"] >= percentile(truth, each) * (1 - PRECISION) - 1


@pytest.mark.virtual_time
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
    assert summary.succeeded == summary.started == 400
    for share in (0.80, 0.90, 0.95, 0.99):
        expected_us = 4 * 500_000 * (share - 0.75)
        found = summary.response.percentiles([100 * share])[100 * share]
        assert found == pytest.approx(expected_us, rel=0.02), share
    slow = sum(count for _, us, count in summary.service.spectrum() if us > 100_000)
    assert slow == 4
