"""The lab: abench names the one limit that each of its servers has."""

import json
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from abench.stats.bottleneck import LIMITERS
from benchmarks.lab import lossy_link, namespace, servers
from benchmarks.lab.__main__ import Outcomes, matrix
from benchmarks.lab.cases import CASES

ROOT = Path(__file__).parent.parent.parent
ATTEMPTS = 5  # of each case: what else runs on a machine is a limit, too, and may be named


def test_every_limiter_has_a_case() -> None:
    assert {case.limiter for case in CASES} == {*LIMITERS} - {"unclear"}


def test_every_server_is_in_use() -> None:
    assert {case.server for case in CASES} == {
        *servers.BY_EVENTS, *servers.BY_THREADS, *servers.BACKLOGS, "loss",
    }  # fmt: skip


def test_the_manual_has_every_case() -> None:
    page = (ROOT / "docs" / "verdicts.md").read_text()
    for case in CASES:
        assert f"### `{case.limiter}`" in page
        assert f"benchmarks.lab '{case.name}'" in page


@pytest.mark.parametrize(
    ("named", "is_right"),
    [({"disk": 9, "latency": 1}, True), ({"disk": 8, "latency": 2}, False), ({"disk": 1}, True)],
)
def test_nine_of_ten_runs_are_to_be_right(named: dict[str, int], is_right: bool) -> None:
    case = next(case for case in CASES if case.limiter == "disk")
    assert Outcomes(case, Counter(named)).is_right is is_right


def test_the_matrix_has_a_column_for_every_verdict() -> None:
    outcomes = [Outcomes(case, Counter({case.limiter: 1, "unclear": 1})) for case in CASES]
    assert len(matrix(outcomes).columns) == 3 + len(LIMITERS)


def sum_of_words(data: bytes) -> int:
    """Return the checksum of RFC 1071: the complement of the sum of words, carries added."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_checksums_stay_right_on_the_link() -> None:
    """RFC 791 section 3.1 and RFC 9293 section 3.1: both sums are over the two addresses."""
    ours, peer = map(socket.inet_aton, (lossy_link.ADDRESS, lossy_link.PEER))
    body = random.Random(1).randbytes(20)
    head = struct.pack(">BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + ours + peer
    head = head[:10] + sum_of_words(head).to_bytes(2, "big") + head[12:]
    returned = lossy_link.send_back(head + body)
    assert (returned[12:16], returned[16:20], returned[20:]) == (peer, ours, body)
    assert sum_of_words(returned[:20]) == 0
    assert sum_of_words(ours + peer + body) == sum_of_words(returned[12:20] + body)


@pytest.mark.alone
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_the_limit_is_named(name: str) -> None:
    """Delays and processor time are the limits, not the speed of this machine."""
    if not namespace.is_available():
        pytest.skip("needs unshare, ip, /dev/net/tun, /dev/fuse and user namespaces")
    limiter = next(case.limiter for case in CASES if case.name == name)
    found: Counter[str] = Counter()
    while not found[limiter] and found.total() < ATTEMPTS:
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.lab", name, "--json"],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert ran.stdout, ran.stderr
        found.update(json.loads(ran.stdout)[name])
    assert found[limiter], ran.stderr
