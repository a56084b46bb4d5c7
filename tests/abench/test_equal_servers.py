"""The A/A test: two sides of real runs of one server are called different as seldom as promised."""

import asyncio
import json
import random

import pytest

from abench.report import document
from abench.stats.comparison import compare

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
COMPARISONS = 20
ROUNDS = 3  # runs of each side: the fewest that are compared as whole runs


@pytest.mark.slow
async def test_a_server_hardly_ever_differs_from_itself(serve, abench):
    """Any figure of 5 in 100 comparisons may differ: 5 or more of 20 do once in 390 times.

    The runs alternate as those of `abench ab-test` do (A B, B A, A B).
    """
    chance = random.Random(1)

    def script(peer):
        delay_s = chance.choice((0.001, 0.002, 0.002, 0.005))
        asyncio.get_running_loop().call_later(delay_s, peer.send, RESPONSE)

    server = await serve(script)

    async def measure():
        ran = await abench("-c4", "-w1", "-n100", "--json", "-", server.url)
        return document.from_document(json.loads(ran.out))

    different = 0
    for _ in range(COMPARISONS):
        sides = [], []
        for number in range(ROUNDS):
            for side in sides if number % 2 == 0 else reversed(sides):
                side.append(await measure())
        found = compare(*sides)
        assert {one.basis for one in found} == {"runs"}
        different += any(one.is_significant for one in found)
    assert different <= 4
