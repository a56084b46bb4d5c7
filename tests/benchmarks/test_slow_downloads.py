"""Slow downloads: how many there are, and what their clients count."""

import socket
import time

import pytest

from benchmarks.slow_downloads import FEW, NUMBER, READ_SIZE, number_of, read_slowly, shares


def test_every_client_belongs_to_a_process() -> None:
    assert sum(shares(16_385)) == 16_385
    assert max(shares(16_385)) - min(shares(16_385)) == 1


def test_there_are_as_many_as_descriptors_allow() -> None:
    assert number_of(10, 65_536) == NUMBER
    assert 2 * number_of(10, 20_000) < 20_000
    assert number_of(1, 65_536) == FEW


def test_a_client_reads_once_a_second_and_its_end_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    pairs = [socket.socketpair() for _ in range(3)]
    clients = [client for client, _ in pairs]
    for client in clients:
        client.setblocking(False)
    pairs[0][1].sendall(b"x" * READ_SIZE * 3)
    pairs[2][1].close()
    found = read_slowly(clients, 2)
    for pair in pairs:
        for one in pair:
            one.close()
    assert found == {"bytes": 2 * READ_SIZE, "reads": 6, "starved": 2, "closed": 2}
