"""Properties that must hold for any input, of each parser that reads data from the network.

A property takes bytes and returns the kind of outcome: the fuzzer builds on inputs with new kinds.
It raises AssertionError, or any exception that the parser must not raise.
"""

from collections.abc import Callable, Hashable, Iterable
from itertools import pairwise
from pathlib import PurePosixPath
from random import Random

from aserve.handlers.handler import RequestContext
from aserve.handlers.listing.query import name_matcher, negotiate_form, parse_query
from aserve.handlers.writing.digests import format_digest, parse_digests
from aserve.http import content_negotiation, preconditions, ranges
from aserve.http.dates import format_date, parse_date
from aserve.http.form_parser import FormParser, FormPart
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
from aserve.policies.site import Site
from tests.conformance.reader import Reader
from tests.fuzz.opinions import (
    DATE,
    NARROW,
    WIDE,
    check_split_independent,
    check_stricter_than_h11,
)
from tests.fuzz.streams import SHAPES, split

NOW = 1_700_000_100

Property = Callable[[bytes], Hashable]


class MemorySource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    is_local = True

    def close(self) -> None:
        pass

    def is_unchanged(self) -> bool:
        return True

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        return True

    def read(self, start: int, stop: int) -> bytes:
        return self._data[start:stop]

    def fileno(self) -> int:
        raise OSError


def _representation(coding: str, length: int) -> Representation:
    validator = Validator(f'"{coding}"', NOW - 100)
    return Representation("text/plain", length, validator, MemorySource(bytes(length)), coding)


DOCUMENT = Document(
    tuple(_representation(*row) for row in {"identity": 99, "br": 5, "gzip": 7, "zstd": 6}.items())
)


class FakeFileSystem:
    """A file system in which every name is a file, except those that begin with n."""

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        if any(name.startswith(b"n") for name in path.segments):
            raise HttpError(404, "Nothing is here.")
        return DOCUMENT if path.segments and not path.is_directory else DirectoryWithoutSlash()


def to_bytes(parts: Iterable[BodyPart]) -> bytes:
    """Return the parts of a response as they are on the wire."""
    return b"".join(
        part.source.read(part.start, part.stop) if isinstance(part, FileSlice) else part
        for part in parts
    )


def streams(data: bytes) -> Hashable:
    """How bytes arrive makes no difference, and aserve sees no request that h11 does not."""
    check_stricter_than_h11(data)
    wide = check_split_independent(data, Random(data), WIDE)
    narrow = check_split_independent(data, Random(data), NARROW)
    return len(wide.requests), wide.stop_reason, len(narrow.requests), narrow.stop_reason


def responses(data: bytes) -> Hashable:
    """Each request has one well-formed response, and none is an internal error."""
    connection, site, statuses = H1Connection(WIDE), Site.of_files(FakeFileSystem()), []
    connection.receive(data)
    connection.receive_eof()
    while request := connection.next_request():
        sent = to_bytes(connection.start_response(site.handle(request, RequestContext(NOW)), DATE))
        connection.response_sent()
        reader = Reader(iter((sent, b"")).__next__)
        response = reader.read_response(request.method)
        assert response is not None
        assert response.status != 500
        assert (reader.read_to_eof(), response.interim) == (b"", ())
        statuses.append(response.status)
    return tuple(statuses)


def targets(data: bytes) -> Hashable:
    """A path has only segments that can be file names, and its location parses to the same path."""
    try:
        path = parse_path(data.decode("latin-1"))
    except HttpError as error:
        return error.status, error.detail
    assert not {b"", b".", b".."} & set(path.segments)
    assert not any(b"/" in name or b"\0" in name for name in path.segments)
    location = path.location()
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert ".." not in PurePosixPath(location.partition("?")[0]).parts
    reparsed = parse_path(location)
    assert reparsed.segments == path.segments
    assert reparsed.query == path.query
    return len(path.segments), path.is_directory, bool(path.query)


def range_sets(data: bytes) -> Hashable:
    """Ranges lie within the file, are not empty, and never contain a byte twice."""
    length = data[0] if data else 0
    try:
        found = ranges.satisfiable_ranges(data[1:].decode("latin-1"), length)
    except HttpError as error:
        return error.status
    assert all(0 <= item.start < item.stop <= length for item in found)
    ordered = sorted(found)
    assert all(item.stop < following.start for item, following in pairwise(ordered))
    return len(found), ordered == found


def accepted_codings(data: bytes) -> Hashable:
    """The selected coding exists; whitespace and case in the header make no difference."""

    def select(header: str) -> str | int:
        try:
            return content_negotiation.select_representation(DOCUMENT, header).coding
        except HttpError as error:
            return error.status

    header = data.decode("latin-1")
    coding = select(header)
    assert coding in {"identity", "br", "gzip", "zstd", 406}
    assert select(header.replace(",", " ,\t").swapcase()) == coding
    return coding


_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")


def conditional(data: bytes) -> Hashable:
    """Preconditions always have a result, and a date beside a list of tags never changes it."""
    values = [part.decode("latin-1").strip(" \t") for part in data.split(b"\n", 4)]
    headers = {name: value for name, value in zip(_CONDITIONS, values, strict=False) if value}
    validator = DOCUMENT.representations[0].validator
    request = Request("GET", "/", 1, headers)
    result = preconditions.evaluate(request, validator, NOW)
    # RFC 9110 section 13.2.2: a date beside a list of tags is ignored.
    for tags, date in ("if-match", "if-unmodified-since"), ("if-none-match", "if-modified-since"):
        if tags in headers:
            without_date = {name: value for name, value in headers.items() if name != date}
            tags_only = request._replace(headers=without_date)
            assert preconditions.evaluate(tags_only, validator, NOW) is result
    return result, preconditions.range_applies(request, validator, NOW)


def listings(data: bytes) -> Hashable:
    """The query of a listing is understood or 400; what it searches for is found by itself."""
    text = data.decode("latin-1")
    try:
        query, form = parse_query(f"?{text}", 1_000)
        matches = name_matcher(query.search)
    except HttpError as error:
        if error.status != 400:
            raise
        return error.detail
    assert query.offset >= 0
    assert 1 <= query.limit <= 10_000
    is_part = not any(sign in query.search for sign in "*?[")
    assert not is_part or matches(query.search.encode(errors="surrogateescape").strip(b"/"))
    matches(b"a" * 255)
    return form, query.sort, query.order, query.is_deep, is_part, negotiate_form(text)


def dates(data: bytes) -> Hashable:
    """A date that can be parsed is formatted to the same date."""
    seconds = parse_date(data.decode("latin-1"), NOW)
    if seconds is None:
        return None
    assert parse_date(format_date(seconds), NOW) == seconds
    return len(data)


def chunks(data: bytes) -> Hashable:
    """How chunks arrive makes no difference to where the body ends, or to the error."""

    def find_end(reads: Iterable[bytes]) -> tuple[bool, int, int]:
        reader, pending, consumed = ChunkedReader(1_000, 100), b"", 0
        for read in reads:
            pending += read
            try:
                size = reader.consume(pending, 0)
            except HttpError as error:
                return False, 0, error.status
            consumed, pending = consumed + size, pending[size:]
        return reader.complete, consumed if reader.complete else 0, 0

    whole = find_end([data])
    assert find_end(split(data, Random(data))) == whole
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

_QUERIES = (
    b"sort=size&order=desc&limit=10&offset=20",
    b"q=*.txt&deep=1&format=json",
    b"q=%5Ba-c%5D?%2F**%2F%C3%A4",
    b"text/html;q=0.5, application/json",
)


def forms(data: bytes) -> Hashable:
    """How a form is cut does not matter, and what it holds is in it."""
    whole = parse_form([data])
    assert whole == parse_form(split(data, Random(data)))
    if isinstance(whole, int):
        return whole
    assert all(content in data for _, content in whole)
    assert all(part.name for part, _ in whole)
    return len(whole), sum(part.filename is not None for part, _ in whole)


def parse_form(pieces: Iterable[bytes]) -> list[tuple[FormPart, bytes]] | int:
    """Return the parts of a form whose boundary is "b", or the status of its error."""
    parser = FormParser("b")
    parts: list[tuple[FormPart, bytes]] = []
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                if isinstance(event, FormPart):
                    parts.append((event, b""))
                elif event is not None:
                    begun, content = parts.pop()
                    parts.append((begun, content + event))
        parser.finish()
    except HttpError as error:
        return error.status
    return parts


_PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
_FORMS = (
    _PART + b"x\r\n--b--\r\n",
    _PART + b"\r\n--\r\n" + _PART + b"y\r\n--b--",
    b"\r\n" + _PART.replace(b'; filename="a"', b"") + b"x\r\n--b--epilogue",
    _PART.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n") + b"x\r\n--b--",
)


def digests(data: bytes) -> Hashable:
    """Digests have the length of their algorithm, and are written as they are read."""
    text = data.decode("latin-1")
    try:
        found = parse_digests(text)
    except ValueError:
        return "malformed"
    assert all(len(digest) == _DIGEST_SIZES[name] for name, digest in found.items())
    written = ", ".join(format_digest(name, digest) for name, digest in found.items())
    assert parse_digests(written) == found
    # Of one algorithm the last digest counts, and others are passed over.
    if text.strip(" "):
        assert parse_digests(f"sha-256=:{'A' * 43}=:, {text},x=:AA==:") == {
            "sha-256": bytes(32),
            **found,
        }
    return tuple(sorted(found))


_DIGEST_SIZES = {"sha-256": 32, "sha-512": 64}
_DIGESTS = (
    b"sha-256=:" + b"A" * 43 + b"=:",
    b"sha-512=:" + b"A" * 86 + b"==:, sha-256=:" + b"B" * 42 + b"A=:",
    b'md5=:AA==:;a;b=1; c="x\\"",unixsum=:AA==:',
    b"sha-256=1, *=::",
)

PROPERTIES: dict[str, tuple[Property, tuple[bytes, ...]]] = {
    "streams": (streams, tuple(SHAPES.values())),
    "responses": (responses, tuple(SHAPES.values())),
    "targets": (targets, _TARGETS),
    "ranges": (range_sets, _RANGES),
    "listings": (listings, _QUERIES),
    "codings": (accepted_codings, _CODINGS),
    "conditions": (
        conditional,
        tuple(b"\n".join((tag, tag, date, date, tag)) for tag in _TAGS for date in _DATES),
    ),
    "dates": (dates, _DATES),
    "forms": (forms, _FORMS),
    "digests": (digests, _DIGESTS),
    "chunks": (chunks, tuple(shape.partition(b"\r\n\r\n")[2] for shape in SHAPES.values())),
}
"""Each property with its seed inputs."""
