"""Which clients are served, and which peers are trusted, by their addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.access.networks import ClientNetworks, TrustedPeers, is_wide, network_error


@pytest.mark.parametrize(
    ("allow", "deny", "client", "is_denied"),
    [
        ("", "", "192.0.2.1", False),
        ("192.0.2.0/24", "", "192.0.2.1", False),
        ("192.0.2.0/24", "", "192.0.3.1", True),
        ("192.0.2.0/24", "192.0.2.1", "192.0.2.1", True),  # deny goes before allow
        ("", "192.0.2.0/24", "192.0.2.1", True),
        ("", "192.0.2.0/24", "::ffff:192.0.2.1", True),  # IPv4 on a socket of IPv6
        ("192.0.2.1", "", "::ffff:192.0.2.1", False),
        ("::1 127.0.0.0/8", "", "::1", False),
        ("fe80::/10", "", "fe80::1%eth0", False),
        ("2001:db8::/32", "", "192.0.2.1", True),
        ("192.0.2.0/24", "", "-", True),
        ("", "192.0.2.0/24", "-", False),
    ],
)
def test_which_clients_are_denied(allow: str, deny: str, client: str, is_denied: bool) -> None:
    assert ClientNetworks(allow.split(), deny.split()).is_denied(client) is is_denied


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.1", "::/0", "2001:db8::1"])
def test_what_is_a_network(text: str) -> None:
    assert not network_error(text)


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "1.2.3"])
def test_what_is_no_network(text: str) -> None:
    assert network_error(text).startswith("must be a network such as 10.0.0.0/8, or an address: ")


@given(st.text())
def test_any_text_is_a_network_or_an_error_and_a_client_is_denied_or_not(text: str) -> None:
    network_error(text)
    assert ClientNetworks(["10.0.0.0/8"], []).is_denied(text) in {True, False}


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        *[("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("fd00::1", True), ("192.0.2.1", True)],
        *[("11.0.0.1", False), ("192.0.2.2", False), ("-", False), ("unix", False), ("", False)],
    ],
)
def test_whose_word_counts(address: str, is_trusted: bool) -> None:
    peers = TrustedPeers(["10.0.0.0/8", "unix", "fd00::/8", "192.0.2.1"])
    assert peers.has_address(address) is is_trusted
    assert peers.has_unix
    assert not TrustedPeers(["10.0.0.0/8"]).has_unix


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3"])
def test_a_network_in_which_are_strangers(text: str) -> None:
    assert is_wide(text)


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/8", "172.16.0.0/12", "fc00::/7", "fe80::/10", "192.0.2.0/24", "2001:db8::/32"],
)
def test_a_network_that_somebody_has(text: str) -> None:
    assert not is_wide(text)
