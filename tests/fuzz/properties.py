"""What must hold for any octets at all, of each parser that reads what a stranger wrote.

A property takes octets and returns what kind of thing came out: kinds not seen before are worth
building on. It raises whatever is not meant to be raised, and AssertionError.
"""

from collections.abc import Callable, Hashable, Iterable
from itertools import pairwise
from pathlib import PurePosixPath
from random import Random

from aserve.handlers.static_site import StaticSite
from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date, parse_date
from aserve.http.messages import BodyPart, FileSlice, HttpError, Request
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import (
    DirectoryWithoutSlash,
    Document,
    Representation,
    Resource,
    Validator,
)
from aserve.http1.body_reader import ChunkedReader
from aserve.http1.connection import H1Connection
from tests.conformance.reader import Reader
from tests.fuzz.opinions import DATE, NARROW, WIDE, require_same_however_cut, require_stricter
from tests.fuzz.streams import SHAPES, cut

NOW = 1_700_000_100

Property = Callable[[bytes], Hashable]


class Memory:
    """Octets that are not in a file."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    is_local = True

    def close(self) -> None:
        pass

    def is_unchanged(self) -> bool:
        return True

    def is_at_hand(self, start: int, stop: int) -> bool:
        return True

    def read(self, start: int, stop: int) -> bytes:
        return self._octets[start:stop]

    def fileno(self) -> int:
        raise OSError


def _representation(coding: str, length: int) -> Representation:
    validator = Validator(f'"{coding}"', NOW - 100)
    return Representation("text/plain", length, validator, Memory(bytes(length)), coding)


DOCUMENT = Document(
    tuple(_representation(*row) for row in {"identity": 99, "br": 5, "gzip": 7, "zstd": 6}.items())
)


class Shelf:
    """Files of which every name is one, but for those that begin with n."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        if any(name.startswith(b"n") for name in path.segments):
            raise HttpError(404, "Nothing is here.")
        return DOCUMENT if path.segments and not path.is_directory else DirectoryWithoutSlash()


def octets_of(pieces: Iterable[BodyPart]) -> bytes:
    """Return what the pieces of a reply are on the wire."""
    return b"".join(
        piece.source.read(piece.start, piece.stop) if isinstance(piece, FileSlice) else piece
        for piece in pieces
    )


def streams(octets: bytes) -> Hashable:
    """How octets arrive makes no difference, and no request is seen that h11 does not see."""
    require_stricter(octets)
    whole = require_same_however_cut(octets, Random(octets), WIDE)
    narrow = require_same_however_cut(octets, Random(octets), NARROW)
    return len(whole.requests), whole.over, len(narrow.requests), narrow.over


def replies(octets: bytes) -> Hashable:
    """Each request has one reply, well formed, and no fault of ours is in it."""
    exchange, site, kinds = H1Connection(WIDE), StaticSite(Shelf()), []
    exchange.receive(octets)
    exchange.receive_eof()
    while request := exchange.next_request():
        sent = octets_of(exchange.start_response(site.handle(request, NOW), DATE))
        exchange.response_sent()
        reader = Reader(iter((sent, b"")).__next__)
        reply = reader.read_reply(request.method)
        assert reply is not None
        assert reply.status != 500
        assert (reader.rest(), reply.interim) == (b"", ())
        kinds.append(reply.status)
    return tuple(kinds)


def targets(octets: bytes) -> Hashable:
    """A path has only names that a folder can have, and says the same when it is said again."""
    try:
        path = parse_path(octets.decode("latin-1"))
    except HttpError as refused:
        return refused.status, refused.detail
    assert not {b"", b".", b".."} & set(path.segments)
    assert not any(b"/" in name or b"\0" in name for name in path.segments)
    location = path.location()
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert ".." not in PurePosixPath(location.partition("?")[0]).parts
    again = parse_path(location)
    assert again.segments == path.segments
    assert again.query == path.query
    return len(path.segments), path.is_directory, bool(path.query)


def range_sets(octets: bytes) -> Hashable:
    """Ranges lie within the file, hold something, and never hold the same octet twice."""
    length = octets[0] if octets else 0
    try:
        found = ranges.satisfiable_ranges(octets[1:].decode("latin-1"), length)
    except HttpError as refused:
        return refused.status
    assert all(0 <= one.start < one.stop <= length for one in found)
    ordered = sorted(found)
    assert all(one.stop < next_.start for one, next_ in pairwise(ordered))
    return len(found), ordered == found


def accepted_codings(octets: bytes) -> Hashable:
    """What is chosen is what there is; blanks and case in the field mean nothing."""

    def choose(field: str) -> str | int:
        try:
            return content_negotiation.select_representation(DOCUMENT, field).coding
        except HttpError as refused:
            return refused.status

    field = octets.decode("latin-1")
    chosen = choose(field)
    assert chosen in {"identity", "br", "gzip", "zstd", 406}
    assert choose(field.replace(",", " ,\t").swapcase()) == chosen
    return chosen


_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")


def conditional(octets: bytes) -> Hashable:
    """Preconditions are weighed to some verdict, and only together as they are alone."""
    values = [part.decode("latin-1").strip(" \t") for part in octets.split(b"\n", 4)]
    fields = {name: value for name, value in zip(_CONDITIONS, values, strict=False) if value}
    validator = DOCUMENT.representations[0].validator
    request = Request("GET", "/", 1, fields)
    verdict = preconditions.evaluate(request, validator, NOW)
    # RFC 9110 section 13.2.2: a date beside a list of tags counts for nothing.
    for tags, date in ("if-match", "if-unmodified-since"), ("if-none-match", "if-modified-since"):
        if tags in fields:
            fewer = {name: value for name, value in fields.items() if name != date}
            assert preconditions.evaluate(request._replace(fields=fewer), validator, NOW) is verdict
    return verdict, preconditions.range_applies(request, validator, NOW)


def dates(octets: bytes) -> Hashable:
    """A date that is understood is written in the one form and is then the same date."""
    moment = parse_date(octets.decode("latin-1"), NOW)
    if moment is None:
        return None
    assert parse_date(format_date(moment), NOW) == moment
    return len(octets)


def chunks(octets: bytes) -> Hashable:
    """How chunks arrive makes no difference to where they end, or to what is wrong with them."""

    def end(pieces: Iterable[bytes]) -> tuple[bool, int, int]:
        content, waiting, passed = ChunkedReader(1_000, 100), b"", 0
        for piece in pieces:
            waiting += piece
            try:
                consumed = content.consume(waiting, 0)
            except HttpError as refused:
                return False, 0, refused.status
            passed, waiting = passed + consumed, waiting[consumed:]
        return content.complete, passed if content.complete else 0, 0

    whole = end([octets])
    assert end(cut(octets, Random(octets))) == whole
    return whole[0], whole[2]


_TARGETS = (
    *(b"/", b"/a/b.html?c=d", b"/a/../../b/./c/", b"//host/x", b"/%2e%2e/%2E", b"/%2f%00", b"*"),
    *(b"http://host:80/a?b", b"HTTP://[::1]", b"/%C3%BC/\xff", b"/%", b"/a b", b"/{}|", b"/\\x"),
    *(b"/;a=b/?%zz", b"http://u@h/", b"https://h/", b"/#f", b"/..;/a", b"/%252e/"),
)
_RANGES = (
    *(b"\x0abytes=0-0", b"\x63bytes=-5", b"\x0abytes=5-", b"\x64bytes=0-4,10-14,90-,-3"),
    *(
        b"\x63bytes=9-0",
        b"\x00bytes=0-",
        b"\x0aBytes = 0-1 , ,2-3",
        b"\x0alines=1-2",
        b"\x09bytes=",
    ),
    b"\xffbytes=" + b",".join(b"%d-%d" % (n, n) for n in range(0, 130, 2)),
)
_CODINGS = (
    *(b"", b"gzip", b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"identity;q=0", b"*;q=0", b"x-gzip"),
    *(b"identity;q=0.5, *;q=0", b"zstd;q=0.001", b"gzip;q=2", b"gzip;Q=0", b"deflate, ,br"),
)
_DATES = (
    *(b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT"),
    *(
        b"Sun Nov  6 08:49:37 1994",
        b"Mon, 29 Feb 2100 23:59:60 GMT",
        b"Thu, 01 Jan 0001 00:00:00 GMT",
    ),
)
_TAGS = (b'"identity"', b'W/"identity", "x"', b"*", b'"a,b" , "br"', b'"', b"x", b"")

PROPERTIES: dict[str, tuple[Property, tuple[bytes, ...]]] = {
    "streams": (streams, tuple(SHAPES.values())),
    "replies": (replies, tuple(SHAPES.values())),
    "targets": (targets, _TARGETS),
    "ranges": (range_sets, _RANGES),
    "codings": (accepted_codings, _CODINGS),
    "conditions": (
        conditional,
        tuple(b"\n".join((tag, tag, date, date, tag)) for tag in _TAGS for date in _DATES),
    ),
    "dates": (dates, _DATES),
    "chunks": (chunks, tuple(shape.partition(b"\r\n\r\n")[2] for shape in SHAPES.values())),
}
"""Each property with the octets to start from."""
