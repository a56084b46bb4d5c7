"""The queue of known capacity that `abench capacity` is measured with."""

import pytest

from benchmarks.capacity import QueueServer, known_queues
from benchmarks.queueing import highest_rate, within_in_m_d_1, within_in_m_m_c


def test_requests_are_served_when_a_server_is_free() -> None:
    now = 10.0
    queue = known_queues()["M/D/1"]
    server = QueueServer(queue, lambda: now)
    assert [server.done_at() for _ in range(3)] == pytest.approx([10.002, 10.004, 10.006])
    now = 11.0
    assert server.done_at() == pytest.approx(11.002)


def test_four_servers_serve_four_at_once() -> None:
    server = QueueServer(known_queues()["M/M/4"], lambda: 0.0)
    first = [server.done_at() for _ in range(4)]
    assert server.done_at() > min(first)


def test_known_values_of_queueing_theory() -> None:
    """M/M/1 has the closed form exp(-(mu - lambda) t); M/D/1 never waits where nothing comes."""
    assert within_in_m_m_c(50, 0.01, 1, 0.1) == pytest.approx(1 - 2.718281828 ** (-50 * 0.1))
    assert within_in_m_d_1(1e-9, 0.01, 0.01) == pytest.approx(1)
    assert within_in_m_d_1(50, 0.01, 0.005) == 0
    assert highest_rate(lambda rate: 1 - rate / 100, 100) == pytest.approx(1)
