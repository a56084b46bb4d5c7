"""The table and its tools are sound themselves."""

from collections import Counter
from itertools import islice

import pytest

from tests.conformance.pending import CUTS, PENDING
from tests.conformance.reader import Malformed, Reader, Reply, Silent
from tests.conformance.rows import PARTS, ROWS


def test_size() -> None:
    assert len(ROWS) >= 300
    assert all(len(rows) >= 20 for rows in PARTS.values())


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []


def test_what_is_pending_exists() -> None:
    assert {*PENDING, *CUTS} <= {row.name for row in ROWS}


def read(octets: bytes, method: str = "GET") -> tuple[Reader, Reply | None]:
    """Read one reply from octets that arrive one by one and then end."""
    rest = iter(octets)
    reader = Reader(lambda: bytes(islice(rest, 1)))
    return reader, reader.read_reply(method)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.mark.parametrize(
    ("octets", "method", "body", "rest"),
    [
        (HEAD + b"\r\nabc", "GET", b"ab", b"c"),
        (HEAD + b"\r\nabc", "HEAD", b"", b"abc"),
        (b"HTTP/1.1 304 \r\nContent-Length: 2\r\n\r\nabc", "GET", b"", b"abc"),
        (b"HTTP/1.1 204 x\r\n\r\nabc", "GET", b"", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", "GET", b"abc", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nb",
            "GET",
            b"a",
            b"b",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\nabc", "GET", b"ab", b"c"),
    ],
)
def test_reader_finds_the_end(octets: bytes, method: str, body: bytes, rest: bytes) -> None:
    reader, found = read(octets, method)
    assert found
    assert (found.body, reader.rest()) == (body, rest)


@pytest.mark.parametrize(
    "octets",
    [
        HEAD + b"\r\na",
        HEAD + b"Content-Length: 2\r\n\r\nab",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X : y\r\n\r\nab",
        HEAD + b"X: y\n\r\nab",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"hello",
    ],
)
def test_reader_trusts_nothing(octets: bytes) -> None:
    with pytest.raises(Malformed):
        read(octets)


def test_reader_tells_an_end_from_silence() -> None:
    assert read(b"")[1] is None

    def silence() -> bytes:
        raise Silent

    with pytest.raises(Silent):
        Reader(silence).read_reply("GET")
