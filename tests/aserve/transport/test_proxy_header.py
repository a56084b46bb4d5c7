"""The parser of PROXY headers: examples of the specification, and any bytes however cut."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aserve.transport.proxy_header import (
    MAX_HEADER_SIZE,
    ProxyHeader,
    ProxyHeaderError,
    parse_proxy_header,
)
from tests.aserve.transport.proxy_headers import (
    LOCAL,
    PROXY,
    SIGNATURE,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    UNIX_DATAGRAM,
    UNIX_STREAM,
    binary,
    block,
    line,
    tlv,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"
ALL_F = "ffff:" * 7 + "ffff"
SSL_TLV = tlv(0x20, b"\x01\x00\x00\x00\x00" + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"a.test"))


@pytest.mark.parametrize(
    ("header", "client", "size"),
    [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", "192.168.0.1", 47),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", "255.255.255.255", 56),
        (f"PROXY TCP6 {ALL_F} {ALL_F} 65535 65535", ALL_F, 104),
        ("PROXY TCP6 2001:DB8::1 ::1 0 0", "2001:db8::1", 32),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 1", "192.0.2.1", 37),
        ("PROXY UNKNOWN", "", 15),
        ("PROXY UNKNOWN ", "", 16),
        (f"PROXY UNKNOWN {ALL_F} {ALL_F} 65535 65535", "", 107),
        ("PROXY UNKNOWN \xff\r \n \0", "", 22),
    ],
)
def test_lines_of_section_2_1(header: str, client: str, size: int) -> None:
    data = header.encode("latin-1") + b"\r\n"
    assert len(data) == size
    assert parse_proxy_header(data + REQUEST) == ProxyHeader(client, size)


@pytest.mark.parametrize(
    "header",
    [
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 ",
        "PROXY TCP4  192.168.0.1 192.168.0.11 56324 443",
        "PROXY  TCP4 192.168.0.1 192.168.0.11 56324 443",
        "PROXY TCP4\t192.168.0.1 192.168.0.11 56324 443",
        "PROXY TCP4 192.168.0.01 192.168.0.11 56324 443",  # leading zeros: an octal number?
        "PROXY TCP4 192.168.0.1 192.168.0.11 056324 443",
        "PROXY TCP4 192.168.0.1 192.168.0.11 65536 443",
        "PROXY TCP4 192.168.0.1 192.168.0.11 1 99999",
        "PROXY TCP4 192.168.0.1 192.168.0.11 -1 443",
        "PROXY TCP4 192.168.0.256 192.168.0.11 56324 443",
        "PROXY TCP4 192.168.1 192.168.0.11 56324 443",
        "PROXY TCP4 192.168.0.1 ::1 56324 443",
        "PROXY TCP4 ::1 ::1 56324 443",
        "PROXY TCP6 192.168.0.1 192.168.0.11 56324 443",
        "PROXY TCP6 fe80::1%eth0 ::1 56324 443",
        "PROXY TCP6 :::1 ::1 56324 443",
        "PROXY TCP6 1::2::3 ::1 56324 443",
        "PROXY TCP5 192.168.0.1 192.168.0.11 56324 443",
        "PROXY UDP4 192.168.0.1 192.168.0.11 56324 443",
        "PROXY UNIX /a /b 0 0",
        "PROXY UNKNOWNS",
        "PROXY unknown",
        "PROXY ",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n",
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r",
        "PROXY TCP4 \u00b9.1.1.1 192.168.0.11 56324 443",
        "Proxy TCP4 192.168.0.1 192.168.0.11 56324 443",
        "PROXYTCP4 192.168.0.1 192.168.0.11 56324 443",
        "GET / HTTP/1.1",
        " PROXY UNKNOWN",
        "",
        "PROXY UNKNOWN " + "x" * 92,  # 108 bytes with the end
    ],
)
def test_no_other_line_is_accepted(header: str) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(header.encode("latin-1") + b"\r\n" + REQUEST)


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (binary("192.0.2.1"), "192.0.2.1"),
        (binary("2001:db8::9"), "2001:db8::9"),
        (binary("::ffff:192.0.2.1"), "192.0.2.1"),
        (binary("192.0.2.1", SSL_TLV + tlv(0x03, b"\x00\x01\x02\x03")), "192.0.2.1"),
        (binary("2001:db8::9", b"no TLV at all"), "2001:db8::9"),
        (block(PROXY, UDP4, bytes(12)), "0.0.0.0"),
        (block(PROXY, UDP6, bytes(36)), "::"),
        (block(PROXY, UNIX_STREAM, bytes(216)), "-"),
        (block(PROXY, UNIX_DATAGRAM, bytes(216)), "-"),
        (block(PROXY, 0x00, b""), ""),
        (block(PROXY, 0x00, b"what it likes"), ""),
        (block(LOCAL, 0x00, b""), ""),
        (block(LOCAL, TCP4, b"to be skipped"), ""),  # "discard ... including the family"
        (block(LOCAL, 0xFF, bytes(3)), ""),
        (block(LOCAL, 0x00, bytes(4_096)), ""),
    ],
)
def test_binary_headers_of_section_2_2(header: bytes, client: str) -> None:
    assert parse_proxy_header(header + REQUEST) == ProxyHeader(client, len(header))


@pytest.mark.parametrize(
    "header",
    [
        block(0x11, TCP4, bytes(12)),  # "the receiver must only accept" version 2
        block(0x31, TCP4, bytes(12)),
        block(0x22, TCP4, bytes(12)),  # commands that are not assigned
        block(0x2F, TCP4, bytes(12)),
        block(PROXY, TCP4, bytes(11)),
        block(PROXY, TCP6, bytes(35)),
        block(PROXY, UNIX_STREAM, bytes(215)),
        block(PROXY, 0x13, bytes(12)),  # "must be rejected as invalid by receivers"
        block(PROXY, 0x41, bytes(216)),
        block(PROXY, 0x01, bytes(216)),
        block(PROXY, TCP4, bytes(4_097)),
        block(LOCAL, 0x00, bytes(65_535)),
        SIGNATURE[:-1] + b"\x0b" + binary("192.0.2.1")[12:],
    ],
)
def test_no_other_binary_header_is_accepted(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(header)


def test_a_header_has_a_largest_size() -> None:
    assert len(block(LOCAL, 0x00, bytes(4_096))) == MAX_HEADER_SIZE
    assert parse_proxy_header(b"PROXY " + bytes(100)) is None
    with pytest.raises(ProxyHeaderError):
        parse_proxy_header(b"PROXY " + bytes(101))
    with pytest.raises(ProxyHeaderError):  # although it would not be complete
        parse_proxy_header(block(LOCAL, 0x00, bytes(4_097))[:16])


ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
HEADERS = st.one_of(
    ADDRESSES.map(line),
    st.builds(binary, ADDRESSES, st.binary(max_size=300)),
    st.just(b"PROXY UNKNOWN\r\n"),
)


@given(HEADERS, st.binary(max_size=64))
def test_how_a_header_is_cut_makes_no_difference(header: bytes, rest: bytes) -> None:
    whole = parse_proxy_header(header + rest)
    assert whole
    assert whole.size == len(header)
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is None
    for end in range(len(header), len(header) + len(rest)):
        assert parse_proxy_header((header + rest)[:end]) == whole


@given(ADDRESSES)
def test_both_versions_name_the_same_client(address: str) -> None:
    parsed = [parse_proxy_header(header) for header in (line(address), binary(address))]
    first, second = (one.client for one in parsed if one)
    assert first == second
    client = ip_address(address)
    assert ip_address(first) == (getattr(client, "ipv4_mapped", None) or client)


def judge(data: bytes) -> ProxyHeader | str | None:
    try:
        return parse_proxy_header(data)
    except ProxyHeaderError:
        return "error"


STARTS = st.sampled_from(
    (b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ", SIGNATURE, SIGNATURE + b"\x21\x11")
)


@given(STARTS, st.binary(max_size=240))
@example(b"\r\n\r\n\0\r\nQUIT\r", b"")
def test_any_bytes_have_one_meaning_which_more_of_them_do_not_change(
    start: bytes, data: bytes
) -> None:
    data = start + data
    judgements = [judge(data[:end]) for end in range(len(data) + 1)]
    decided = [one for one in judgements if one is not None]
    assert len(set(decided)) <= 1
    assert judgements == [None] * (len(judgements) - len(decided)) + decided
