"""Hosts in one form: what a request names, what settings name, and which of them are the same."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.http.host_names import (
    HostTable,
    local_names,
    normal_host,
    parse_host_name,
    request_authority,
)
from aserve.http.messages import Request
from aserve.http.request_target import is_authority

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PORTS = st.one_of(st.just(""), st.integers(1, 65_535).map(":{}".format), st.just(":"))


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("a.test", "a.test"),
        ("A.Test:8000", "a.test"),
        ("a.test.", "a.test"),
        ("a.test.:80", "a.test"),
        ("a.test..", "a.test."),
        (".", "."),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[0:0::0001]", "::1"),
        ("[2001:DB8::A]", "2001:db8::a"),
        ("xn--BCHER-kva.test", "xn--bcher-kva.test"),
        ("%61.test", "%61.test"),  # no client sends it, and no setting matches it
        ("", ""),
        ("user@a.test", ""),
        ("a.test:x", ""),
        ("a.test:99999", ""),
        ("[::1", ""),
    ],
)
def test_a_host_has_one_form(authority: str, host: str) -> None:
    assert normal_host(authority) == host


@given(NAMES, PORTS, st.booleans(), st.randoms(use_true_random=False))
def test_port_case_and_the_last_dot_make_no_other_host(name, port, has_dot, random) -> None:
    spelled = "".join(random.choice((one.lower(), one.upper())) for one in name)
    assert normal_host(spelled + "." * has_dot + port) == name
    assert parse_host_name(spelled + "." * has_dot) == name


@given(st.one_of(st.text(), st.from_regex(r"[\[\]a:0.%@-]{0,12}")))
def test_whatever_is_no_authority_is_no_host(text: str) -> None:
    host = normal_host(text)
    assert host == host.lower()
    assert bool(host) == is_authority(text)


@given(st.ip_addresses(v=6), PORTS)
def test_an_ipv6_address_has_the_form_of_rfc_5952(address: ipaddress.IPv6Address, port) -> None:
    for spelled in (address.compressed, address.exploded.upper()):
        assert normal_host(f"[{spelled}]{port}") == address.compressed
        assert parse_host_name(spelled) == parse_host_name(f"[{spelled}]") == address.compressed


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("my_host", "my_host"),
        ("*.B.test", "*.b.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.test.", "xn--bcher-kva.test"),
        ("straße.test", "xn--strae-oqa.test"),  # as browsers have it: UTS 46, nontransitional
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("*.bücher.test", "*.xn--bcher-kva.test"),
    ],
)
def test_a_host_of_settings(text: str, host: str) -> None:
    assert parse_host_name(text) == host


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be the name of a host, not ''"),
        ("*", "'*' is every host: the site of all other hosts needs no name"),
        ("a.test:80", "must be the name of a host, without a port: a site is served on all ports"),
        ("[::1]:80", "must be the name of a host, without a port: a site is served on all ports"),
        ("http://a.test", "must be the name of a host, without a scheme and a path"),
        ("a.test/", "must be the name of a host, without a scheme and a path"),
        ("a.*.test", "must be the name of a host: a wildcard is *.NAME"),
        ("*.", "must be the name of a host"),
        ("a..test", "must be the name of a host"),
        ("-a.test", "must be the name of a host"),
        ("a b", "must be the name of a host"),
        ("a" * 64, "must be the name of a host"),
        (".".join(["a" * 63] * 4), "must be the name of a host"),
        ("*.192.0.2.7", "'*.192.0.2.7' is no host: there are no names below an address"),
        ("fe80::1%eth0", "'fe80::1%eth0' is no host: browsers send no zone of an address"),
        ("☕.test", "'☕.test' is no name of a host: codepoint u+2615"),
    ],
)
def test_a_host_that_is_none_says_what_is_right(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="host") as caught:
        parse_host_name(text)
    assert str(caught.value).startswith(reason)


@given(st.one_of(st.text(max_size=40), NAMES, st.from_regex(r"[\[\]*.:a0%@-]{0,12}")))
@example("*.*")
@example("²")
@example("a\udc80")
def test_a_site_is_found_by_the_names_that_settings_accept(text: str) -> None:
    try:
        host = parse_host_name(text)
    except ValueError:
        return
    assert host.isascii()
    assert parse_host_name(host) == host
    sent = host.replace("*", "any")
    assert normal_host(f"[{sent}]:80" if ":" in sent else sent) == sent
    assert HostTable({host: True}).get(sent)


def matching(host: str, entries: dict[str, int]) -> int | None:
    """Return what belongs to a host, in the slow way."""
    wildcards = [one for one in entries if one[0] == "*" and host.endswith(one[1:])]
    best = host if host in entries else max(wildcards, key=len, default=None)
    return None if best is None else entries[best]


SHORT_NAMES = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(".".join)


@given(
    SHORT_NAMES,
    st.dictionaries(st.one_of(SHORT_NAMES, SHORT_NAMES.map("*.{}".format)), st.integers()),
)
def test_the_name_itself_goes_before_the_longest_wildcard(host, entries) -> None:
    assert HostTable(entries).get(host) == matching(host, entries)


def test_a_wildcard_is_neither_its_own_name_nor_an_address() -> None:
    table = HostTable({"*.a.test": 1, "*.0.1": 2})
    assert [table.get(host) for host in ("x.a.test", "y.x.a.test", "a.test", "")] == [
        1,
        1,
        None,
        None,
    ]
    assert table.get("127.0.0.1") is None


def test_a_long_host_is_not_looked_for() -> None:
    assert HostTable({"*.a": 1}).get("." * 4_000 + "a") is None


@pytest.mark.parametrize(
    ("target", "host", "authority"),
    [
        ("/", "a.test", "a.test"),
        ("http://b.test:80/x", "a.test", "b.test:80"),
        ("HTTP://b.test", "a.test", "b.test"),
        ("http:///x", "a.test", "a.test"),
        ("*", "a.test", "a.test"),
        ("//b.test/", "a.test", "a.test"),
        ("/http://b.test/", "a.test", "a.test"),
    ],
)
def test_a_url_as_the_target_goes_before_the_host_header(target, host, authority) -> None:
    assert request_authority(Request("GET", target, headers={"host": host})) == authority


def test_a_request_may_name_no_host() -> None:
    assert request_authority(Request("GET", "/", minor=0)) == ""


def test_the_names_of_this_machine() -> None:
    names = local_names("Box.example.org")
    assert names == {"localhost", "*.localhost", "box.example.org", "box.local"}
    assert local_names("") == {"localhost", "*.localhost"}
