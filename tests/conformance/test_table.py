"""Tests of the table and its tools."""

from collections import Counter
from itertools import islice

import pytest

from tests.conformance.check_rows import check_rows
from tests.conformance.reader import Malformed, Reader, Response, Silent
from tests.conformance.rows import PARTS, ROWS, cross_section
from tests.conformance.table import Row


def test_size() -> None:
    assert len(ROWS) >= 300
    assert all(len(rows) >= 20 for rows in PARTS.values())


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(row.name for row in ROWS).items() if count > 1] == []


def test_cross_section_has_every_part_and_status() -> None:
    chosen = cross_section(ROWS)
    assert len(chosen) < len(ROWS) / 5
    assert all(any(row in rows for row in chosen) for rows in PARTS.values())
    of_chosen, of_all = (
        {response.statuses for row in rows for response in row.aserve.responses[-1:]}
        for rows in (chosen, ROWS)
    )
    assert of_chosen == of_all


def test_failures_are_listed_by_row() -> None:
    errors = {row.name: [f"error of {row.name}", "another"] for row in ROWS[1:3]}

    def ask(row: Row) -> list[str]:
        if row is ROWS[3]:
            raise ConnectionResetError("gone")
        return errors.get(row.name, [])

    with pytest.raises(pytest.fail.Exception) as failed:
        check_rows(ROWS[:4], ask)
    first, *lines = str(failed.value).splitlines()
    assert first == "3 of the 4 rows asked failed:"
    assert lines == [
        f"  {ROWS[1].name} ({ROWS[1].clause}): error of {ROWS[1].name}; another",
        f"  {ROWS[2].name} ({ROWS[2].clause}): error of {ROWS[2].name}; another",
        f"  {ROWS[3].name} ({ROWS[3].clause}): ConnectionResetError: gone",
    ]


def test_a_broken_server_is_not_asked_every_row() -> None:
    asked: list[Row] = []
    with pytest.raises(pytest.fail.Exception):
        check_rows(ROWS, lambda row: asked.append(row) or ["wrong"])
    assert len(asked) == 50


def read(data: bytes, method: str = "GET") -> tuple[Reader, Response | None]:
    """Read one response from data that arrives byte by byte, then EOF."""
    remaining = iter(data)
    reader = Reader(lambda: bytes(islice(remaining, 1)))
    return reader, reader.read_response(method)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.mark.parametrize(
    ("data", "method", "body", "rest"),
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
def test_reader_finds_the_end_of_a_response(
    data: bytes, method: str, body: bytes, rest: bytes
) -> None:
    reader, response = read(data, method)
    assert response
    assert (response.body, reader.read_to_eof()) == (body, rest)


@pytest.mark.parametrize(
    "data",
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
def test_reader_rejects_malformed_responses(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


def test_reader_distinguishes_eof_from_silence() -> None:
    assert read(b"")[1] is None

    def silence() -> bytes:
        raise Silent

    with pytest.raises(Silent):
        Reader(silence).read_response("GET")
