"""Two readings of one byte stream: aserve's and h11's."""

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
from tests.fuzz.streams import cut

WIDE, NARROW = Limits(), Limits(max_request_line=40, max_header_size=120, max_body=20)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


class Opinion(NamedTuple):
    """Which requests are in a stream, as (method, target), and why no more of it was read."""

    requests: list[tuple[str, str]]
    over: str = ""


def ours(pieces: Iterable[bytes], limits: Limits = WIDE) -> Opinion:
    """Let an Exchange read a stream that ends with its last piece."""
    exchange = H1Connection(limits)
    requests: list[tuple[str, str]] = []
    errors: list[str] = []

    def answer() -> None:
        while request := exchange.next_request():
            assert not errors, "a request after a refusal"
            if request.error:
                errors.append(f"{request.error.status} {request.error.detail}")
                response = error_response(request, request.error)
            else:
                requests.append((request.method, request.target))
                response = Response(200, (), (b"x",), 1)
            exchange.start_response(response, DATE)
            exchange.response_sent()

    for piece in pieces:
        exchange.receive(piece)
        answer()
    closed = "closed" if exchange.state >= State.LINGERING else ""
    exchange.receive_eof()
    answer()
    assert exchange.state is State.CLOSED
    return Opinion(requests, errors[0] if errors else closed)


# What h11 refuses and the RFC wants read, each with its clause: rewritten to what h11 reads.
_FRAMING = re.compile(rb"(?i)(?<=\r\n)(?:Content-Length|Transfer-Encoding):[^\r\n]*\r\n")
_TARGET = re.compile(rb"(?<= )[!-~]*[\x80-\xff][!-~\x80-\xff]*(?= HTTP/)")
_SEVEN_BITS = bytes(range(128)) + b"x" * 128
EXCEPTIONS = (
    # RFC 9112 section 7.1.1: there may be blanks around the semicolon of a chunk extension.
    (re.compile(rb"(\r\n[0-9A-Fa-f]+)[ \t]+;"), rb"\1;"),
    # RFC 9112 section 7.1: a chunk size has as many leading zeros as it likes; h11 reads 20 digits.
    (re.compile(rb"\r\n0+(?=[0-9A-Fa-f])"), rb"\r\n"),
    # RFC 9110 section 6.5.1: a trailer does not frame, whatever it says; h11 judges it as if.
    (
        re.compile(rb"\r\n0+(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)+"),
        lambda trailers: _FRAMING.sub(b"", trailers[0]),
    ),
)


def require_stricter(octets: bytes) -> None:
    """Where we differ from h11 on what is in a stream, we must be the ones who see less in it."""
    we, they = ours([octets]), theirs(octets)
    if _is_stricter(we, they):
        return
    # RFC 9112 section 3.2: a target of octets that no URI has may be sent back encoded.
    read = _TARGET.sub(lambda found: found[0].translate(_SEVEN_BITS), octets)
    encoded = ours([read])
    assert any(_is_stricter(encoded, theirs(one)) for one in _rewritten(read)), (octets, we, they)


def _rewritten(octets: bytes) -> Iterable[bytes]:
    """Yield a stream with any of the exceptions made: one may read chunks into other content."""
    for number in range(len(EXCEPTIONS) + 1):
        for chosen in combinations(EXCEPTIONS, number):
            read = octets
            for found, rewritten in chosen:
                read = found.sub(rewritten, read)
            yield read


def require_same_however_cut(octets: bytes, random: Random, limits: Limits) -> Opinion:
    """How a stream is cut into pieces must make no difference; return what is seen in it."""
    whole, pieces = ours([octets], limits), ours(cut(octets, random), limits)
    assert whole == pieces, (octets, whole, pieces)
    return whole


def _is_stricter(we: Opinion, they: Opinion) -> bool:
    """Tell whether we read the same requests, no more of them, and stop no later."""
    same = we.requests == they.requests[: len(we.requests)]
    fewer = len(we.requests) < len(they.requests)
    return same and (fewer or bool(we.over) or not they.over)


def theirs(octets: bytes) -> Opinion:
    """Let h11 read the same, and help it where it does not do what the RFC asks for."""
    requests: list[tuple[str, str]] = []
    rest: bytes | None = octets
    while rest is not None:
        # RFC 9112 section 2.2: empty lines before a request line are passed over. h11 refuses.
        while rest.startswith(b"\r\n"):
            rest = rest[2:]
        if rest in {b"", b"\r"}:
            return Opinion(requests)
        try:
            request, rest = _first(rest)
        except h11.RemoteProtocolError as error:
            return Opinion(requests, str(error))
        requests.append((request.method.decode(), request.target.decode()))
    return Opinion(requests, "closed")


def _first(octets: bytes) -> tuple[h11.Request, bytes | None]:
    """Return the first request and what follows it; None where nothing can."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(octets)
    connection.receive_data(b"")
    request = event = connection.next_event()
    while not isinstance(event, h11.EndOfMessage):
        if connection.they_are_waiting_for_100_continue and _has_content(request):
            # RFC 9110 section 10.1.1: a final response may come without the content.
            return request, None
        event = connection.next_event()
    return request, connection.trailing_data[0] if _persists(request) else None


def _has_content(request: h11.Request) -> bool:
    length = dict(request.headers).get(b"content-length", b"0")
    return b"transfer-encoding" in dict(request.headers) or int(length) > 0


def _persists(request: h11.Request) -> bool:
    """RFC 9112 section 9.3; h11 does not know HTTP/1.0's keep-alive."""
    values = b",".join(value for name, value in request.headers if name == b"connection")
    options = {option.strip(b" \t").lower() for option in values.split(b",")}
    return b"close" not in options and (request.http_version >= b"1.1" or b"keep-alive" in options)
