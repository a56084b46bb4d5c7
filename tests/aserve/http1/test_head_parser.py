"""Rejected heads: the errors, and what the access log shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError
from aserve.http1.connection import H1Connection
from aserve.http1.head_parser import parse_head
from aserve.http1.limits import Limits
from aserve.observability.log_formats import Entry, combined_format

HEADERS = b"Referer: http://y/\r\nUser-Agent: curl/8 \xff\r\n"
LOGGED = '"GET /a HTTP/1.1" 400 0 "http://y/" "curl/8 \\xff"'


def rejected_request(data, status=None):
    """Return the rejected request of a connection that received data; status: reject it if late."""
    connection = H1Connection(Limits())
    connection.receive(data)
    request = connection.next_request()
    return connection.reject(HttpError(status, "")) if status else request


def log_entry(request):
    """Return the access log entry of a request, from its request line on."""
    line = combined_format(Entry(0, "-", request, 400, 0, 0.0))
    return line[line.index('"') :]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /a HTTP/1.1\r\n" + HEADERS + b"bad name: x\r\n\r\n", 400),
        (
            b"GET /a HTTP/1.1\r\n" + HEADERS + b"\r\nGET /b HTTP/1.1\r\nUser-Agent: b\r\n\r\n",
            400,
        ),
        (b"\r\nGET /a HTTP/1.1\n" + HEADERS.replace(b"\r", b"") + b"\n", 400),
        (b"GET /a HTTP/1.1\r\n" + HEADERS + b"X: y\r\n" * 200, 431),
        (
            b"GET /a HTTP/1.1\r\nX: " + b"x" * 30_000 + b"\r\n" + HEADERS + b"Y: " + b"y" * 9_000,
            431,
        ),
    ],
)
def test_a_rejected_head_is_logged(data, status):
    request = rejected_request(data)
    assert request.error.status == status
    assert log_entry(request) == LOGGED


@pytest.mark.parametrize(
    ("data", "logged"),
    [
        (b"GET /a HTTP/1.1\r\n" + HEADERS + b"Hos", LOGGED),
        (b"POST /a HTTP/1.1\r\nHost: x\r\n" + HEADERS + b"Content-Length: 9\r\n\r\n12",
         LOGGED.replace("GET", "POST")),
        (b"GET /a HT", '"GET /a HT" 400 0 "-" "-"'),
        (b"G", '"G" 400 0 "-" "-"'),
        (b"", '"-" 400 0 "-" "-"'),
    ],
)  # fmt: skip
def test_an_incomplete_head_is_logged_after_a_timeout(data, logged):
    assert log_entry(rejected_request(data, 408)) == logged


def test_the_logged_part_of_a_head_is_bounded():
    request = rejected_request(b"GET /" + b"a" * 60_000)
    assert request.error.status == 414
    assert len(request.head) <= 1_024
    request = rejected_request(b"GET /a HTTP/1.1\r\nUser-Agent: " + b"\xff" * 60_000)
    assert request.error.status == 431
    assert len(request.head) <= 2_100


TLS_HELLO = bytes.fromhex("16030102000100") + bytes(200) + b"\r\n\r\n" + bytes(20)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (TLS_HELLO, "a TLS handshake on a plain HTTP port"),
        (b"\x05\x02\x00\x02", "SOCKS, version 5"),
        (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", "SOCKS, version 4"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH"),
        (
            b"PROXY TCP4 192.168.100.100 192.168.100.200 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            "PROXY protocol",
        ),
        (b"PROXY UNKNOWN\r\n", "PROXY protocol"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "PROXY protocol"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 without TLS"),
    ],
)
def test_other_protocols_are_recognized_however_they_arrive(data, expected):
    for size in (1, 2, 5, len(data)):
        connection = H1Connection(Limits())
        request = None
        for start in range(0, len(data), size):
            connection.receive(data[start : start + size])
            request = request or connection.next_request()
        assert expected in request.error.detail
        assert request.error.status in {400, 505}
        assert request.method in {"", "PRI", "PROXY", "SSH-2.0-OpenSSH_9.2p1"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"M" * 8_190 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"M" * 20_000, 501),
        (b"GET /" + b"a" * 8_190 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"PROPFIND /" + b"a" * 8_190 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1." + b"1" * 9_000 + b"\r\n\r\n", 400),
    ],
)
def test_the_part_of_the_request_line_that_is_too_long_decides(data, status):
    assert rejected_request(data).error.status == status


OPTION = st.sampled_from(
    ["close", "Close", "keep-alive", "KEEP-ALIVE", "closed", "x-close", "close-x", "keep", "te", ""]
)
WHITESPACE = st.text(" \t", max_size=2)


@given(st.lists(st.tuples(WHITESPACE, OPTION, WHITESPACE), max_size=6), st.sampled_from([0, 1]))
def test_a_connection_option_is_found_among_others(options, minor):
    """RFC 9112 section 9.3: close decides, then the version, then keep-alive."""
    value = ",".join(map("".join, options))
    head = f"GET / HTTP/1.{minor}\r\nHost: x\r\nConnection: {value}\r\n\r\n".encode()
    names = {name.lower() for _, name, _ in options}
    expected = "close" not in names and (minor == 1 or "keep-alive" in names)
    assert parse_head(head)[1].keep_alive == expected


OPTIONS = st.lists(
    st.sampled_from(
        ["close", "keep-alive", "Keep-Alive", "te", "x close", "close x", "keepon: keep-alive", ""]
    ),
    max_size=5,
)
WHITESPACE = st.text(" \t", max_size=2)


@given(OPTIONS, WHITESPACE, st.sampled_from([0, 1]))
def test_a_connection_option_stands_alone_between_commas(options, space, minor):
    """RFC 9110 sections 5.6.1 and 7.6.1: "keepon: keep-alive" is not the option keep-alive."""
    value = f"{space},{space}".join(options)
    head = f"GET / HTTP/1.{minor}\r\nHost: x\r\nConnection: {value}\r\n\r\n"
    _, parsed = parse_head(head.encode())
    names = {option.lower() for option in options}
    assert parsed.keep_alive == ("close" not in names and (minor == 1 or "keep-alive" in names))
