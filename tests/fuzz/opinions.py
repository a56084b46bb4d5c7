"""Differential fuzzing: one byte stream, parsed by aserve and by h11."""

import re
from collections.abc import Iterable
from itertools import combinations
from random import Random
from typing import NamedTuple

import h11

from aserve.http.error_pages import error_response
from aserve.http.messages import Response
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State
from tests.fuzz.streams import split

WIDE, NARROW = Limits(), Limits(max_request_line=40, max_header_size=120, max_body=20)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


class ParseResult(NamedTuple):
    """The requests in a stream, as (method, target), and why parsing stopped, if it did."""

    requests: list[tuple[str, str]]
    stop_reason: str = ""


def parse_with_aserve(reads: Iterable[bytes], limits: Limits = WIDE) -> ParseResult:
    """Parse a stream, given as reads, with aserve; it ends after the last one."""
    connection = H1Connection(limits)
    requests: list[tuple[str, str]] = []
    errors: list[str] = []

    def answer() -> None:
        while request := connection.next_request():
            assert not errors, "a request after a rejected one"
            if request.error:
                errors.append(f"{request.error.status} {request.error.detail}")
                response = error_response(request, request.error)
            else:
                requests.append((request.method, request.target))
                response = Response(200, (), (b"x",), 1)
            connection.start_response(response, DATE)
            connection.response_sent()

    for data in reads:
        connection.receive(data)
        answer()
    closed = "closed" if connection.state >= State.LINGERING else ""
    connection.receive_eof()
    answer()
    assert connection.state is State.CLOSED
    return ParseResult(requests, errors[0] if errors else closed)


# What the RFC accepts and h11 rejects, each with its clause: rewritten to what h11 accepts.
_FRAMING = re.compile(rb"(?i)(?<=\r\n)(?:Content-Length|Transfer-Encoding):[^\r\n]*\r\n")
_TARGET = re.compile(rb"(?<= )[!-~]*[\x80-\xff][!-~\x80-\xff]*(?= HTTP/)")
_ASCII_ONLY = bytes(range(128)) + b"x" * 128
EXCEPTIONS = (
    # RFC 9112 section 7.1.1: whitespace is allowed around the semicolon of a chunk extension.
    (re.compile(rb"(\r\n[0-9A-Fa-f]+)[ \t]+;"), rb"\1;"),
    # RFC 9112 section 7.1: any number of leading zeros in a chunk size; h11 reads 20 digits.
    (re.compile(rb"\r\n0+(?=[0-9A-Fa-f])"), rb"\r\n"),
    # RFC 9110 section 6.5.1: a trailer never frames a message; h11 treats it as if it did.
    (
        re.compile(rb"\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)+"),
        lambda trailers: _FRAMING.sub(b"", trailers[0]),
    ),
)


def check_stricter_than_h11(data: bytes) -> None:
    """Where aserve and h11 differ on a stream, aserve must see fewer requests in it."""
    aserve, other = parse_with_aserve([data]), parse_with_h11(data)
    if _is_stricter(aserve, other):
        return
    # RFC 9112 section 3.2: a target with characters that no URI has may be redirected.
    ascii_data = _TARGET.sub(lambda match: match[0].translate(_ASCII_ONLY), data)
    result = parse_with_aserve([ascii_data])
    assert any(
        _is_stricter(result, parse_with_h11(rewritten)) for rewritten in _rewrite(ascii_data)
    ), (data, aserve, other)


def _rewrite(data: bytes) -> Iterable[bytes]:
    """Yield data with each subset of EXCEPTIONS applied: one may find chunks in other content."""
    for count in range(len(EXCEPTIONS) + 1):
        for chosen in combinations(EXCEPTIONS, count):
            rewritten = data
            for pattern, replacement in chosen:
                rewritten = pattern.sub(replacement, rewritten)
            yield rewritten


def check_split_independent(data: bytes, random: Random, limits: Limits) -> ParseResult:
    """How a stream is split into reads must make no difference; return the parse result."""
    whole = parse_with_aserve([data], limits)
    in_reads = parse_with_aserve(split(data, random), limits)
    assert whole == in_reads, (data, whole, in_reads)
    return whole


def _is_stricter(aserve: ParseResult, other: ParseResult) -> bool:
    """Tell whether aserve parses the same requests, no more of them, and stops no later."""
    same = aserve.requests == other.requests[: len(aserve.requests)]
    fewer = len(aserve.requests) < len(other.requests)
    return same and (fewer or bool(aserve.stop_reason) or not other.stop_reason)


def parse_with_h11(data: bytes) -> ParseResult:
    """Parse a stream with h11, with help where it does less than the RFC asks for."""
    requests: list[tuple[str, str]] = []
    rest: bytes | None = data
    while rest is not None:
        # RFC 9112 section 2.2: empty lines before a request line are skipped. h11 rejects them.
        while rest.startswith(b"\r\n"):
            rest = rest[2:]
        if rest in {b"", b"\r"}:
            return ParseResult(requests)
        try:
            request, rest = _parse_first(rest)
        except h11.RemoteProtocolError as error:
            return ParseResult(requests, str(error))
        requests.append((request.method.decode(), request.target.decode()))
    return ParseResult(requests, "closed")


def _parse_first(data: bytes) -> tuple[h11.Request, bytes | None]:
    """Return the first request and the bytes after it; None if the connection closes."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    connection.receive_data(b"")
    request = event = connection.next_event()
    while not isinstance(event, h11.EndOfMessage):
        if connection.they_are_waiting_for_100_continue and _has_body(request):
            # RFC 9110 section 10.1.1: the final response may come before the body.
            return request, None
        event = connection.next_event()
    return request, connection.trailing_data[0] if _keeps_alive(request) else None


def _has_body(request: h11.Request) -> bool:
    length = dict(request.headers).get(b"content-length", b"0")
    return b"transfer-encoding" in dict(request.headers) or int(length) > 0


def _keeps_alive(request: h11.Request) -> bool:
    """Tell whether it keeps the connection alive (RFC 9112 9.3); h11 lacks HTTP/1.0's."""
    values = b",".join(value for name, value in request.headers if name == b"connection")
    options = {option.strip(b" \t").lower() for option in values.split(b",")}
    return b"close" not in options and (request.http_version >= b"1.1" or b"keep-alive" in options)
