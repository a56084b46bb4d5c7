"""Whom a request is from: what trusted proxies say, and nothing that their clients make up."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.forwarded import NOTHING_SAID, Hop, normal_address
from aserve.policies.trusted_proxies import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8"])
CLIENT, OTHER = "192.0.2.1", "198.51.100.9"
LIE = "203.0.113.66"


def head(*lines: str) -> bytes:
    return "\r\n".join(("GET / HTTP/1.1", "Host: x", *lines, "", "")).encode("latin-1")


def test_which_peers_are_proxies() -> None:
    assert PROXIES.trusts("10.1.1.1", socket.AF_INET)
    assert PROXIES.trusts("::ffff:10.1.1.1", socket.AF_INET6)
    assert not PROXIES.trusts("11.1.1.1", socket.AF_INET)
    assert not PROXIES.trusts("-", socket.AF_UNIX)
    local = TrustedProxies(["unix"])
    assert local.trusts("-", socket.AF_UNIX)
    assert not local.trusts("-", socket.AF_INET)  # a peer that has gone
    assert not local.trusts("127.0.0.1", socket.AF_INET)


@pytest.mark.parametrize(
    ("lines", "origin"),
    [
        ([], NOTHING_SAID),
        (["X-Forwarded-For: 192.0.2.1"], Hop(CLIENT)),
        (["x-forwarded-for:192.0.2.1:4711"], Hop(CLIENT)),
        (["Forwarded: for=192.0.2.1;proto=https;host=a.test"], Hop(CLIENT, "https", "a.test")),
        # The first from the right that is not trusted; the last one if all are.
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.2, fd00::2"], Hop(CLIENT)),
        (["X-Forwarded-For: 203.0.113.66, 192.0.2.1, 10.0.0.2"], Hop(CLIENT)),
        (["X-Forwarded-For: 10.0.0.3, 10.0.0.2"], Hop("10.0.0.3")),
        (["Forwarded: for=203.0.113.66, for=192.0.2.1, for=10.0.0.2"], Hop(CLIENT)),
        # Scheme and host are said by the hop that names the client.
        (
            ["Forwarded: for=192.0.2.1;proto=https;host=a.test, for=10.0.0.2;proto=http;host=b"],
            Hop(CLIENT, "https", "a.test"),
        ),
        (["Forwarded: for=9.9.9.9;proto=https, for=192.0.2.1"], Hop(CLIENT)),
        # Two lines of one name are one list.
        (["X-Forwarded-For: 203.0.113.66", "X-Forwarded-For: 192.0.2.1"], Hop(CLIENT)),
        (["Forwarded: for=203.0.113.66", "FORWARDED: for=192.0.2.1"], Hop(CLIENT)),
        (['Forwarded: for="x', 'Forwarded: for="192.0.2.1:80"'], Hop(CLIENT)),
        # A comma in quotation marks; empty elements.
        (['Forwarded: for=192.0.2.1;by="a, for=203.0.113.66"'], Hop(CLIENT)),
        (["X-Forwarded-For: ,203.0.113.66,, 192.0.2.1 ,,"], Hop(CLIENT)),
        # What is malformed or hidden ends the search: the client is the one that said so.
        (["X-Forwarded-For: 203.0.113.66, x, 10.0.0.2"], Hop("10.0.0.2")),
        (["X-Forwarded-For: unknown"], NOTHING_SAID),
        (
            ["Forwarded: for=203.0.113.66, for=_x;proto=https, for=10.0.0.2"],
            Hop("10.0.0.2", "https"),
        ),
        (["Forwarded: for=203.0.113.66, for=, for=10.0.0.2;proto=http"], Hop("10.0.0.2", "http")),
        (["Forwarded: for=unknown;proto=https"], Hop("", "https")),
        (["Forwarded: proto=https"], Hop("", "https")),
        # X-Forwarded-Proto and -Host: what the last proxy says that says anything.
        (
            [
                "X-Forwarded-For: 192.0.2.1",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: a.test:81",
            ],
            Hop(CLIENT, "https", "a.test:81"),
        ),
        (
            ["X-Forwarded-Proto: http, https", "X-Forwarded-Host: x, a.test"],
            Hop("", "https", "a.test"),
        ),
        (["X-Forwarded-Proto: gopher", "X-Forwarded-Host: a/b"], NOTHING_SAID),
        # Other headers say nothing.
        (["X-Real-IP: 192.0.2.1", "X-Forwarded: for=192.0.2.1", "Via: 1.1 x"], NOTHING_SAID),
    ],
)
def test_what_is_believed(lines: list[str], origin: Hop) -> None:
    assert PROXIES.origin_in(head(*lines)) == origin
    assert PROXIES.origin_in(head(*lines)) == origin  # as remembered
    assert PROXIES.origin_in(head(f"X-Long: {'x' * 2_000}", *lines)) == origin  # not remembered


FORWARDED, X_FOR = "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"


@pytest.mark.parametrize(
    "lines",
    [
        # Most proxies write one of them, and pass on the other one as the client has sent it.
        ["Forwarded: for=203.0.113.66", X_FOR],
        [FORWARDED, "X-Forwarded-For: 203.0.113.66"],
        ["Forwarded: for=unknown", X_FOR],  # a client that hides behind its proxy
        ["Forwarded: proto=https", X_FOR],
        ['Forwarded: for="', X_FOR],
        [FORWARDED, "X-Forwarded-For: x"],
        [f"{FORWARDED};proto=https", X_FOR, "X-Forwarded-Proto: http"],
        [f"{FORWARDED};host=a.test", X_FOR, "X-Forwarded-Host: b.test"],
        [f"{FORWARDED};host=a.test", "X-Forwarded-Host: b.test"],
    ],
)
def test_headers_that_contradict_each_other_are_none(lines: list[str]) -> None:
    assert PROXIES.origin_in(head(*lines)) is None


@pytest.mark.parametrize(
    ("lines", "origin"),
    [
        ([FORWARDED, X_FOR], Hop(CLIENT)),
        (
            [
                f"{FORWARDED};proto=https;host=A.test",
                X_FOR,
                "X-Forwarded-Proto: HTTPS",
                "X-Forwarded-Host: a.test",
            ],
            Hop(CLIENT, "https", "a.test"),
        ),
        # What only one of them says may be what a client has sent.
        ([f"{FORWARDED};host=lie.test", X_FOR, "X-Forwarded-Proto: https"], Hop(CLIENT)),
        ([FORWARDED, "X-Forwarded-Proto: https", "X-Forwarded-Host: lie.test"], Hop(CLIENT)),
        ([f"{FORWARDED}, for=10.0.0.2", f"{X_FOR}, 10.0.0.2"], Hop(CLIENT)),
    ],
)
def test_headers_that_agree_are_believed_where_both_say_it(lines: list[str], origin: Hop) -> None:
    assert PROXIES.origin_in(head(*lines)) == origin


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_proxies_are_bounded_work(count: int) -> None:
    value = ", ".join(["10.0.0.2"] * count)
    assert PROXIES.origin_in(head(f"X-Forwarded-For: 192.0.2.1, {value}")) == Hop("10.0.0.2")
    value = ", ".join(["for=10.0.0.2"] * count)
    assert PROXIES.origin_in(head(f"Forwarded: for=192.0.2.1, {value}")) == Hop("10.0.0.2")


VALUE = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)


@given(VALUE, VALUE, VALUE)
def test_no_header_raises_and_a_client_is_an_address_or_the_peer(one, other, third) -> None:
    lines = (f"Forwarded: {one}", f"X-Forwarded-For: {other}", f"X-Forwarded-Host: {third}")
    for some in (lines[:1], lines[1:], lines):
        origin = PROXIES.origin_in(head(*some)) or NOTHING_SAID
        assert not origin.client or normal_address(origin.client) == origin.client


@given(VALUE)
def test_no_client_of_an_appending_proxy_is_taken_for_another_one(value: str) -> None:
    """It sends what it likes in the header that its proxy adds to."""
    for added in ("192.0.2.1", "192.0.2.1, 10.0.0.2", "192.0.2.1, fd00::5, 10.0.0.2"):
        for sent in (
            f"X-Forwarded-For: {value}, {added}",
            f"X-Forwarded-For: {value}\r\nx-forwarded-for: {added}",
        ):
            assert PROXIES.origin_in(head(sent)) == Hop(CLIENT)
        elements = added.replace("fd00::5", '"[fd00::5]"').replace(", ", ", for=")
        assert PROXIES.origin_in(head(f"Forwarded: {value}, for={elements}")) == Hop(CLIENT)
