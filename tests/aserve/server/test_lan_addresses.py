"""By which addresses others reach a machine, whose network a test makes up."""

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aserve.server import lan_addresses as module
from aserve.server.lan_addresses import lan_addresses, lan_urls
from aserve.server.listeners import format_url, route_address

PRIVATE = ("127.0.0.1", "10.8.0.3", "172.17.0.1", "192.168.1.20", "1.2.3.4")
IPV6 = (
    "0" * 31 + "1",
    "fd00" + "0" * 27 + "2",
    "fe80" + "0" * 27 + "3",
    "20010db9" + "0" * 23 + "4",
)
DOCKER = (
    "docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0"  # 172.17.0.0/16, on a little-endian CPU
)
ROUTES = (
    "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT",
    "eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0",
    DOCKER,
    "eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0",
)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """What the kernel tells of the networks of a machine."""
    table = "".join(f"  |-- {one}\n      /32 host LOCAL\n" for one in PRIVATE)
    (tmp_path / "fib_trie").write_text(table)
    (tmp_path / "if_inet6").write_text("".join(f"{one} 02 40 00 80 eth0\n" for one in IPV6))
    (tmp_path / "route").write_text("\n".join((*ROUTES, "")))
    return tmp_path


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    (tmp_path / "docker0" / "bridge").mkdir(parents=True)
    (tmp_path / "eth0").mkdir()
    return tmp_path


@pytest.fixture
def addresses(
    net: Path, interfaces: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[str]]:
    monkeypatch.setattr(module.sys, "byteorder", "little")
    return lambda route: list(map(str, lan_addresses(route, net, interfaces)))


def test_the_default_route_comes_first_and_then_private_networks(
    addresses: Callable[[str], list[str]],
) -> None:
    assert addresses("192.168.1.20") == ["192.168.1.20", "10.8.0.3", "fd00::2"]


def test_a_public_address_is_only_there_by_the_default_route(
    addresses: Callable[[str], list[str]],
) -> None:
    assert addresses("1.2.3.4") == ["1.2.3.4", "10.8.0.3", "192.168.1.20", "fd00::2"]


def test_a_bridge_is_left_out_unless_the_default_route_is_one(
    addresses: Callable[[str], list[str]],
) -> None:
    assert "172.17.0.1" not in addresses("192.168.1.20")
    assert addresses("172.17.0.1")[0] == "172.17.0.1"


def test_a_machine_without_a_network_has_no_address(tmp_path: Path) -> None:
    assert lan_addresses("", tmp_path, tmp_path) == ()


@pytest.fixture
def of_machine(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand for the network of this machine. Return the names that were asked for."""
    asked: list[str] = []
    real = lan_addresses
    monkeypatch.setattr(module, "route_address", lambda: "192.168.1.20")
    monkeypatch.setattr(
        module, "lan_addresses", lambda route: real(route, Path("/none"), Path("/none"))
    )
    monkeypatch.setattr(module, "machine_names", lambda: ("localhost", "box", "box.local"))
    monkeypatch.setattr(module, "is_announced", lambda name, _: asked.append(name) or True)
    return asked


def test_urls_have_the_port_and_end_with_the_name_that_is_answered_for(
    of_machine: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        both = [f"https://192.168.1.20:{port}/", f"https://box.local:{port}/"]
        assert lan_urls([listener], "https") == both
        assert of_machine == ["box.local"]
        monkeypatch.setattr(module, "is_announced", lambda *_: False)
        assert lan_urls([listener], "https") == both[:1]
        monkeypatch.setattr(module, "machine_names", lambda: ("localhost",))
        monkeypatch.setattr(module, "is_announced", None)  # it is not asked
        assert lan_urls([listener], "https") == both[:1]


def test_addresses_of_ipv6_are_only_shown_if_they_are_listened_on(
    monkeypatch: pytest.MonkeyPatch, net: Path, interfaces: Path
) -> None:
    real = lan_addresses
    monkeypatch.setattr(module, "route_address", lambda: "192.168.1.20")
    monkeypatch.setattr(module, "lan_addresses", lambda route: real(route, net, interfaces))
    monkeypatch.setattr(module, "is_announced", lambda *_: False)
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as ipv4,
        closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as ipv6,
    ):
        assert not any("[" in url for url in lan_urls([ipv4], "http"))
        assert f"http://[fd00::2]:{ipv4.getsockname()[1]}/" in lan_urls([ipv4, ipv6], "http")


def test_the_address_of_the_default_route_is_one_of_this_machine() -> None:
    if address := route_address():
        socket.create_server((address, 0)).close()
    assert format_url("http", "fe80::1%eth0", 80) == "http://[fe80::1%25eth0]:80/"
