"""Forwarded (RFC 7239) and X-Forwarded-*, read from the end up to what is malformed."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.http.forwarded import (
    MAX_VALUE,
    Hop,
    forwarded_for_hops,
    forwarded_hops,
    last_host,
    last_scheme,
    normal_address,
)
from tests.calls import count_calls

V6 = "2001:db8:cafe::17"


def clients(hops: list[Hop]) -> list[str]:
    return [hop.client for hop in hops]


@pytest.mark.parametrize(
    ("value", "hops"),
    [
        # The examples of RFC 7239, sections 4, 6 and 7.
        ('for="_gazonk"', [Hop()]),
        (f'For="[{V6}]:4711"', [Hop(V6)]),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", [Hop("192.0.2.60", "http")]),
        ("for=192.0.2.43, for=198.51.100.17", [Hop("198.51.100.17"), Hop("192.0.2.43")]),
        ("for=_hidden, for=_SEVKISEK", [Hop(), Hop()]),
        (f'for=192.0.2.43,for="[{V6}]",for=unknown', [Hop(), Hop(V6), Hop("192.0.2.43")]),
        (f'for=192.0.2.43, for="[{V6}]", for=unknown', [Hop(), Hop(V6), Hop("192.0.2.43")]),
        (f'for="192.0.2.43:47011", for="[{V6}]:47011"', [Hop(V6), Hop("192.0.2.43")]),
        ('for="_gazonk:_secret", for="unknown:80"', [Hop(), Hop()]),
        ('for="192.0.2.43:_a.b-c_1"', [Hop("192.0.2.43")]),
        ("for=192.0.2.43;host=example.com", [Hop("192.0.2.43", "", "example.com")]),
        ('host="Example.com:8080";proto=HTTPS', [Hop("", "https", "example.com:8080")]),
        # Section 4: parameters in any case, and in any order; lists with empty elements
        # (RFC 9110 section 5.6.1.2) and empty pairs.
        (", ,\tfor=192.0.2.1 ,, FOR=192.0.2.2,", [Hop("192.0.2.2"), Hop("192.0.2.1")]),
        (";for=192.0.2.1;;PROTO=http;", [Hop("192.0.2.1", "http")]),
        ("for=192.0.2.1; proto=https ; ext=1", [Hop("192.0.2.1", "https")]),
        (r'for="192.0.2.\1"', [Hop("192.0.2.1")]),
        ("for=UNKNOWN", [Hop()]),
        ('by="a,b;for=192.0.2.9";for=192.0.2.1', [Hop("192.0.2.1")]),
        (r'by="\", for=192.0.2.9, \"";for=192.0.2.1', [Hop("192.0.2.1")]),
        ("", []),
    ],
)
def test_what_proxies_say_is_read(value: str, hops: list[Hop]) -> None:
    assert forwarded_hops(value) == hops


@pytest.mark.parametrize(
    "malformed",
    [
        *("for", "for=", "=192.0.2.1", "for =192.0.2.1", "for= 192.0.2.1", "for=192.0.2.1 x"),
        *("for=192.0.2.1:80", f"for=[{V6}]", f'for="{V6}"', 'for="[192.0.2.1]"'),  # quoted: 6
        *("for=192.0.2.256", "for=192.0.2", "for=0192.0.2.1", 'for="[::1%eth0]"', 'for="[v1.x]"'),
        *('for=""', "for=name", 'for="192.0.2.1:"', 'for="192.0.2.1:123456"', "for=_"),
        *('for="_x', 'for="x\\', 'for="', '"', "\\", 'for="192.0.2.1"x', 'for="\x00"'),
        "for=192.0.2.1;for=192.0.2.2",  # section 4: not more than once
        "for=192.0.2.1;Proto=http;proto=http",
        'by="x, for=192.0.2.7"y',  # what is in quotation marks is no element
    ],
)
def test_what_is_malformed_hides_what_is_before_it_and_nothing_after_it(malformed: str) -> None:
    before, after = "for=192.0.2.66", 'for="192.0.2.1:80";by=_x'
    hops = forwarded_hops(f"{before}, {malformed}, {after}")
    assert hops == [Hop("192.0.2.1")]


@pytest.mark.parametrize(
    ("element", "client"),
    [
        *[("192.0.2.1", "192.0.2.1"), ("192.0.2.1:80", "192.0.2.1"), (V6, V6), (f"[{V6}]", V6)],
        *[(f"[{V6}]:80", V6), ("2001:DB8::0:1", "2001:db8::1"), (" \t192.0.2.1\t ", "192.0.2.1")],
        ("::ffff:192.0.2.1", "192.0.2.1"),  # one client has one address
    ],
)
def test_an_address_is_read_with_and_without_a_port(element: str, client: str) -> None:
    assert clients(forwarded_for_hops(f"192.0.2.7,{element}")) == [client, "192.0.2.7"]


@pytest.mark.parametrize(
    "malformed",
    [
        *("unknown", "_x", "name", "192.0.2", "192.0.2.1.", "192.0.2.256", "0192.0.2.1", "1"),
        *(
            "[192.0.2.1]",
            f"{V6}%eth0",
            f"[{V6}",
            f"{V6}]",
            '"192.0.2.1"',
            "192.0.2.1:",
            "192.0.2.1 x",
        ),
        *("192.0.2.1:123456", "0x7f.1", "\u00b9.1.1.1", "::1:" * 30, "192.0.2.1\x00"),
    ],
)
def test_an_element_that_is_no_address_hides_what_is_before_it(malformed: str) -> None:
    assert clients(forwarded_for_hops(f"192.0.2.66, {malformed}, 192.0.2.1")) == ["192.0.2.1"]


def test_elements_that_are_empty_are_passed_over() -> None:
    value = ",, 192.0.2.2, ,\t,192.0.2.1 , "
    assert clients(forwarded_for_hops(value)) == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    ("value", "scheme"),
    [("https", "https"), ("HTTP", "http"), ("http, https", "https"), ("https, http ", "http")]
    + [(value, "") for value in ("", "wss", "https,", "https://", "on", "https;x")],
)
def test_the_last_scheme_counts(value: str, scheme: str) -> None:
    assert last_scheme(value) == scheme


@pytest.mark.parametrize(
    ("value", "host"),
    [("A.test", "a.test"), ("a.test, b.test:80", "b.test:80"), ("[::1]:8000", "[::1]:8000")]
    + [(value, "") for value in ("", "a.test/", "a b", "a.test,", "x@a.test", "[::1", "a:99999")],
)
def test_the_last_host_counts(value: str, host: str) -> None:
    assert last_host(value) == host


@pytest.mark.parametrize("read", [forwarded_hops, forwarded_for_hops])
def test_ten_thousand_elements_are_bounded_work(read) -> None:
    """The end of a value counts; what is left of an element at its beginning does not."""
    element = "for=192.0.2.1, " if read is forwarded_hops else "192.0.2.1, "
    few = f"{element}" * (MAX_VALUE // len(element) - 1)
    many = f"{element}" * 10_000
    hops = read(many)
    assert hops == [Hop("192.0.2.1")] * len(hops)
    assert len(hops) in {len(read(few)), len(read(few)) + 1}
    python, c = count_calls(lambda: read(many))
    bound, bound_c = count_calls(lambda: read(few))
    assert python <= bound + 8
    assert c <= bound_c + 16


@pytest.mark.parametrize(
    "text", ['for="', '"', "a=", 'a="b,', ",", " ", ";", "for=1.1.1.1 ", 'a="\\', "\\", '="', "a,"]
)
def test_no_repeated_text_takes_more_than_linear_work(text: str) -> None:
    """In steps of the loop, each of which matches possessive patterns once."""
    python, _ = count_calls(lambda: forwarded_hops(text * 100_000))
    assert python <= 6 * MAX_VALUE


def test_an_element_that_is_cut_by_the_limit_is_no_other_address() -> None:
    end = "8.8.8.8, 192.0.2.1"
    assert forwarded_for_hops("1" + end.ljust(MAX_VALUE)) == [Hop("192.0.2.1")]
    inside = '8.8.8.8", for=192.0.2.1'
    assert forwarded_hops('by="for=' + inside.ljust(MAX_VALUE)) == [Hop("192.0.2.1")]
    quoted = f'for=192.0.2.1;by="x, {"x" * MAX_VALUE}, for=8.8.8.8"'
    assert forwarded_hops(quoted) == []


TEXT = st.text(st.sampled_from(',;="\\ \t.:[]_-%axfor128proty=http\x00\xff'), max_size=60)
ADDRESSES = st.ip_addresses().map(str)
NODES = st.one_of(
    ADDRESSES.map(lambda text: f'"[{text}]"' if ":" in text else text),
    st.sampled_from(["unknown", "_x", '"_x:_y"']),
)


@given(st.one_of(st.text(max_size=80), TEXT))
@example('for="')
def test_no_text_raises_and_what_is_found_is_an_address_or_nothing(value: str) -> None:
    for hop in (*forwarded_hops(value), *forwarded_for_hops(value)):
        assert not hop.client or normal_address(hop.client) == hop.client
        assert not hop.client or ip_address(hop.client)
        assert hop.scheme in {"", "http", "https"}
    for hop in forwarded_for_hops(value):
        assert hop.client
    last_scheme(value)
    last_host(value)


@given(TEXT, st.lists(NODES, min_size=1, max_size=4))
def test_nothing_that_a_client_sends_changes_what_proxies_add(text: str, nodes: list[str]) -> None:
    added = ", ".join(f"for={node};proto=https" for node in nodes)
    alone = forwarded_hops(added)
    assert len(alone) == len(nodes)
    assert forwarded_hops(f"{text}, {added}")[: len(nodes)] == alone


@given(TEXT, st.lists(ADDRESSES, min_size=1, max_size=4))
def test_nothing_that_a_client_sends_changes_the_addresses_that_proxies_add(
    text: str, addresses: list[str]
) -> None:
    hops = forwarded_for_hops(f"{text}, {', '.join(addresses)}")
    assert clients(hops)[: len(addresses)] == [*map(normal_address, reversed(addresses))]
