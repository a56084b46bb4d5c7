"""Requests are counted exactly, in memory with a bound, by a clock that is an argument."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.rates import (
    MAX_NUMBER,
    NANOSECONDS,
    Rate,
    RequestCounts,
    SharedRequestCounts,
    parse_rate,
)

NOW = 1_800_000_000 * NANOSECONDS
ONE, OTHER = 0x1234, 0x5678


def counts_of(clients: int) -> RequestCounts:
    """Return a table for so many clients, a multiple of four."""
    return RequestCounts(bytearray(16 * clients))


@pytest.mark.parametrize(
    ("text", "interval", "burst"),
    [
        ("100/s", NANOSECONDS // 100, 100),
        ("100/s:200", NANOSECONDS // 100, 200),
        ("3/s:1", 333_333_333, 1),
        ("10/m", 6 * NANOSECONDS, 10),
        ("1/h", 3_600 * NANOSECONDS, 1),
        ("1000000/s:1000000", 1_000, 1_000_000),
    ],
)
def test_what_a_rate_means(text: str, interval: int, burst: int) -> None:
    assert parse_rate(text) == Rate(interval, burst)


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "/s", "100/d", "100/s:", "100/s:x", "-1/s", "1.5/s", " 1/s", "1/s ", "1/S"),
        *("٣/s", "1/s:٣", "1/s\n", "0/s", "1/s:0", "1000001/s", "1/s:1000001", "9999999999/s"),
    ],
)
def test_what_is_no_rate_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_rate(text)


@given(st.text())
def test_any_text_is_a_rate_or_an_error(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError:
        return
    assert rate.interval >= 1_000
    assert 1 <= rate.burst <= MAX_NUMBER


def test_a_burst_then_one_in_each_interval() -> None:
    counts, rate = counts_of(4), parse_rate("2/s:3")
    assert [counts.take(ONE, rate, NOW) for _ in range(3)] == [0, 0, 0]
    assert counts.take(ONE, rate, NOW) == NANOSECONDS // 2
    assert counts.take(ONE, rate, NOW + NANOSECONDS // 2 - 1) == 1
    assert counts.take(ONE, rate, NOW + NANOSECONDS // 2) == 0
    assert counts.take(ONE, rate, NOW + NANOSECONDS // 2) == NANOSECONDS // 2
    later = NOW + 100 * NANOSECONDS  # no more than the burst is saved up
    assert [counts.take(ONE, rate, later) for _ in range(4)] == [0, 0, 0, NANOSECONDS // 2]


def test_two_clients_do_not_share() -> None:
    counts, rate = counts_of(4), parse_rate("1/h")
    assert counts.take(ONE, rate, NOW) == 0
    assert counts.take(OTHER, rate, NOW) == 0
    assert counts.take(ONE, rate, NOW) > 0


@given(
    st.integers(1, 2_000),
    st.integers(1, 20),
    st.lists(st.integers(0, 5_000), max_size=100),
)
def test_it_is_a_bucket_of_tokens(interval: int, burst: int, pauses: list[int]) -> None:
    """The other way to say the same: a bucket that is full at first and gets a token each time."""
    counts, rate = counts_of(4), Rate(interval, burst)
    now, credit = NOW, burst * interval
    for pause in pauses:
        now += pause
        credit = min(burst * interval, credit + pause)
        wait = counts.take(ONE, rate, now)
        assert wait == max(0, interval - credit)
        if not wait:
            credit -= interval


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    counts, rate = counts_of(4), parse_rate("1/s:2")
    assert [counts.take(ONE, rate, NOW) for _ in range(3)] == [0, 0, NANOSECONDS]
    before = NOW - 3_600 * NANOSECONDS
    assert [counts.take(ONE, rate, before) for _ in range(3)] == [0, 0, NANOSECONDS]
    assert counts.take(ONE, rate, before + NANOSECONDS) == 0


def test_the_memory_stays_as_it_is_and_nobody_is_locked_out() -> None:
    memory = bytearray(16 * 64)
    counts, rate = RequestCounts(memory), parse_rate("1/h:2")
    for client in range(10_000):
        assert counts.take(client, rate, NOW) == 0
    assert len(memory) == 16 * 64
    assert counts.places == 64


def test_whose_time_is_closest_loses_its_place() -> None:
    """Those who owe most are remembered: they are the ones that a flood of addresses could help."""
    counts, rate = counts_of(4), parse_rate("1/h:3")
    for client, requests in ((1, 3), (2, 2), (3, 3), (4, 3)):
        for _ in range(requests):
            assert counts.take(client, rate, NOW) == 0
    assert counts.take(5, rate, NOW) == 0  # in the place of 2
    for client in (1, 3, 4):
        assert counts.take(client, rate, NOW) > 0
    for client in range(6, 100):
        assert counts.take(client, rate, NOW) == 0
    for client in (1, 3, 4):
        assert counts.take(client, rate, NOW) > 0


def test_a_client_whose_time_has_come_needs_no_place() -> None:
    counts, rate = counts_of(4), parse_rate("1/s")
    for client in range(4):
        counts.take(client, rate, NOW)
    counts.take(4, rate, NOW + 2 * NANOSECONDS)
    assert counts.take(4, rate, NOW + 2 * NANOSECONDS) > 0


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = os.memfd_create("counts")
    os.ftruncate(descriptor, 1 << 12)
    yield descriptor
    os.close(descriptor)


def test_what_shares_a_file_counts_together(file: int) -> None:
    one, other, rate = SharedRequestCounts(file), SharedRequestCounts(file), parse_rate("2/h")
    assert one.take(ONE, rate, NOW) == 0
    assert other.take(ONE, rate, NOW) == 0
    assert one.take(ONE, rate, NOW) > 0
    assert other.take(ONE, rate, NOW) > 0


TAKE = """
import sys
from aserve.access.rates import SharedRequestCounts, parse_rate

counts, rate = SharedRequestCounts(int(sys.argv[1])), parse_rate("1/h:6000")
print(sum(not counts.take(1, rate, 10**18) for _ in range(4_000)))
"""


def test_processes_that_count_at_once_lose_nothing(file: int) -> None:
    """Without their lock they did: of 20,000 requests, four of them let 34,000 pass."""
    command = (sys.executable, "-c", TAKE, str(file))
    options = {"pass_fds": [file], "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **options) for _ in range(3)]
    taken = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(taken) == 6_000


def test_threads_that_count_at_once_lose_nothing() -> None:
    counts, rate = counts_of(4), parse_rate("1/h:3000")
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            waits = list(pool.map(lambda _: counts.take(ONE, rate, NOW), range(4_000)))
    finally:
        sys.setswitchinterval(interval)
    assert waits.count(0) == 3_000


def test_a_process_that_dies_while_it_counts_leaves_no_lock(file: int) -> None:
    code = "import fcntl, os, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); os._exit(9)"
    command = (sys.executable, "-c", code, str(file))
    assert subprocess.run(command, pass_fds=[file], check=False).returncode == 9
    assert SharedRequestCounts(file).take(ONE, parse_rate("1/s"), NOW) == 0


@given(
    st.binary(min_size=128, max_size=128),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(1, MAX_NUMBER),
    st.integers(1, MAX_NUMBER),
)
def test_nothing_in_the_memory_makes_it_fail_or_lock_a_client_out(
    content: bytes, key: int, number: int, burst: int
) -> None:
    """As after a process was killed while it wrote."""
    counts, rate = RequestCounts(bytearray(content)), parse_rate(f"{number}/s:{burst}")
    wait = counts.take(key, rate, NOW)
    assert 0 <= wait <= rate.interval
    assert counts.take(key, rate, NOW + wait) <= rate.interval
