"""The sockets of another address: those that are open already are the same ones."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from aserve.config.settings import Settings
from aserve.server import listeners
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import ListenError, close_all, listen
from tests.aserve.server.test_listeners import needs_ipv6

At = Callable[..., Settings]

UNUSED = "127.83.1.7"
"""An address of this machine from which no client of another test connects: its port is free."""


@pytest.fixture(params=[1, 3])
def at(request: pytest.FixtureRequest) -> At:
    """Return what makes settings of one worker, or of several."""
    return partial(Settings, ".", workers=request.param)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Sockets to be closed after the test."""
    sockets: list[socket.socket] = []
    yield sockets
    close_all(sockets)


def start(settings: Settings, opened: list[socket.socket]) -> ListenerGroups:
    groups = ListenerGroups(listen(settings))
    opened += groups.sockets
    return groups


def move(
    groups: ListenerGroups,
    before: Settings,
    after: Settings,
    opened: list[socket.socket],
    leaving: tuple[socket.socket, ...] = (),
) -> ListenerGroups:
    moved = groups.moved(before, after, leaving)
    moved.assign(after)
    opened += moved.sockets
    return moved


def hosts(groups: ListenerGroups) -> list[list[str]]:
    return [[one.getsockname()[0] for one in group] for group in groups.groups]


def test_the_same_address_has_the_same_sockets(at: At, opened: list[socket.socket]) -> None:
    before = at(host="127.0.0.1", port=0)
    groups = start(before, opened)
    assert groups.moved(before, before) is groups
    assert groups.moved(before, at(host="127.0.0.1", port=groups.port)) is groups


@needs_ipv6
def test_what_both_addresses_have_stays_open(at: At, opened: list[socket.socket]) -> None:
    before, after = at(host="127.0.0.1", port=0), at(host="localhost", port=0)
    all_at_first = start(after, opened)  # so that the port is free on both
    groups = move(all_at_first, after, before, opened)
    close_all(set(all_at_first.sockets) - set(groups.sockets))
    both = move(groups, before, after, opened)
    assert hosts(both) == [["127.0.0.1", "::1"]] * before.workers
    assert {one.getsockname()[1] for one in both.sockets} == {groups.port}
    assert set(groups.sockets) < set(both.sockets)
    back = move(both, after, before, opened)
    assert set(back.sockets) == set(groups.sockets)


@needs_ipv6
@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_one_address_may_include_the_other(
    at: At, wildcard: str, opened: list[socket.socket]
) -> None:
    before, after = at(host="127.0.0.1", port=0), at(host=wildcard, port=0)
    groups = start(before, opened)
    every = move(groups, before, after, opened)
    assert hosts(every) == [[wildcard]] * before.workers
    assert {one.getsockname()[1] for one in every.sockets} == {groups.port}
    close_all(groups.sockets)
    again = move(every, after, before, opened)
    assert hosts(again) == [["127.0.0.1"]] * before.workers
    assert again.port == every.port


def test_an_address_that_is_being_left_can_come_back(at: At, opened: list[socket.socket]) -> None:
    before, after = at(host="127.0.0.1", port=0), at(host="127.0.0.2", port=0)
    first = start(before, opened)
    second = move(first, before, after, opened)
    assert not set(first.sockets) & set(second.sockets)
    third = move(second, after, before, opened, tuple(first.sockets))
    assert set(third.sockets) == set(first.sockets)
    assert len(third.groups) == before.workers


def test_a_port_of_another_server_is_taken(at: At, opened: list[socket.socket]) -> None:
    """Also where both would allow others to listen on the same port, as several workers do."""
    before = at(host="127.0.0.1", port=0)
    groups = start(before, opened)
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((UNUSED, groups.port))
        other.listen()
        with pytest.raises(ListenError, match=f"{groups.port} is taken on {UNUSED}"):
            groups.moved(before, at(host=UNUSED, port=0))


def test_without_ipv6_the_other_address_is_enough(
    at: At, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = at(host="127.0.0.1", port=0)
    groups = start(before, opened)
    monkeypatch.setattr(listeners, "_addresses", lambda _host, port: [
        (socket.AF_INET, ("127.0.0.1", port)),
        (socket.AF_INET, ("192.0.2.1", port)),  # which no machine has (RFC 5737)
    ])  # fmt: skip
    assert groups.moved(before, at(host="localhost", port=0)) is groups


def test_without_a_port_the_next_free_one_is_found(
    at: At, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = at(host="127.0.0.1", port=0)
    groups = start(before, opened)
    monkeypatch.setattr(listeners, "DEFAULT_PORT", groups.port)  # on which it listens already
    assert groups.moved(before, at(host="127.0.0.1", port=None)) is groups
