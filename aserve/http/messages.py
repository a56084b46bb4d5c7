"""Requests, responses and HTTP errors as plain values."""

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, str], ...]
"""Header lines, (name, value), in the order they are sent."""

# RFC 9110 renamed three reason phrases; Python 3.11's standard library has the old ones.
REASON_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
}


NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Sent with bodies the server generates, so that no browser finds HTML from a request in them.

Not sent with files: sites that serve scripts without a suffix rely on the browser to sniff.
"""


class HttpError(Exception):
    """An error response: raised where a rule is broken, turned into a response in one place.

    status: the status code. detail: one sentence for the user, with nothing from the request in
    it. headers: the headers that this status requires. close: close the connection, because its
    remaining bytes cannot be trusted or are not wanted.
    """

    def __init__(
        self, status: int, detail: str, headers: Headers = (), *, close: bool = False
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.close = close


class ByteSource(Protocol):
    """The bytes of a representation: an open file, or memory.

    is_local: whether a read never waits for anything slower than a disk.
    """

    is_local: bool

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop); fewer if the content has become shorter."""

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        """Tell whether the bytes [start, stop) can be read without waiting for a disk."""

    def is_unchanged(self) -> bool:
        """Tell whether the content is still the one its validator was made from."""

    def fileno(self) -> int:
        """Return the file descriptor to stream from; raises OSError if there is none."""

    def close(self) -> None:
        """Release the source. Unless is_local, this may block as well."""


class FileSlice:
    """The bytes [start, stop) of a source, sent without being held in memory."""

    __slots__ = (
        "source",
        "start",
        "stop",
    )

    def __init__(self, source: ByteSource, start: int, stop: int) -> None:
        self.source = source
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start


BodyPart = bytes | FileSlice


class Request(NamedTuple):
    """One request, as far as it matters to a file server.

    method, target: as received; target is "" if the request line could not be parsed.
    minor: the client's minor version of HTTP/1, 0 or 1.
    headers: the headers that decide which file is sent and how, names in lower case, lines of one
    name joined by ", " (RFC 9110 section 5.3). header() finds any other.
    head: the whole head as received, in Latin-1, for the log and for TRACE.
    error: set if the message itself is invalid; it is then the response.
    """

    method: str
    target: str
    minor: int = 1
    headers: Mapping[str, str] = MappingProxyType({})
    head: str = ""
    error: HttpError | None = None

    def header(self, name: str) -> str | None:
        """Return the value of any header of the head, None if there is none.

        name: in lower case. It is looked for when it is asked for: most requests are answered
        without. Lines of one name are joined by ", ", and those of Cookie by "; " (RFC 6265
        section 5.4).
        """
        values = [value.rstrip(" \t") for value in _header_lines(name).findall(self.head)]
        return ("; " if name == "cookie" else ", ").join(values) if values else None


@lru_cache(maxsize=64)
def _header_lines(name: str) -> re.Pattern[str]:
    """Return the pattern of a header's lines in a head, with the value as its group."""
    return re.compile(rf"\r\n{re.escape(name)}:[ \t]*([^\r]*)", re.IGNORECASE)


class Response(NamedTuple):
    """One final response.

    length: the Content-Length in bytes, None for no such header; a response to HEAD has one though
    its body is empty. close: close the connection afterwards. tunnel: the host and port to connect
    to once the response has been sent. path: the path of the file it was made from; the response
    cache may send it again until something on that path changes. b"": it is not cacheable.
    """

    status: int
    headers: Headers = ()
    body: tuple[BodyPart, ...] = ()
    length: int | None = None
    close: bool = False
    tunnel: tuple[str, int] | None = None
    path: bytes = b""

    def same_as(self, other: "Response") -> bool:
        """Tell whether two responses are equal on the wire, as far as their validators show."""
        mine, others = self.without_body(), other.without_body()
        return mine == others and all(map(_same_part, self.body, other.body))

    def with_body(self, body: tuple[BodyPart, ...]) -> "Response":
        """Return the same head with another body."""
        status, headers, _, length, close, tunnel, path = self
        return Response(status, headers, body, length, close, tunnel, path)

    def with_headers(
        self, headers: Headers, body: tuple[BodyPart, ...] | None = None
    ) -> "Response":
        """Return the same response with other headers, and another body if it is given."""
        status, _, same_body, length, close, tunnel, path = self
        body = same_body if body is None else body
        return Response(status, headers, body, length, close, tunnel, path)

    def without_body(self) -> "Response":
        """Return the same head without a body, as HEAD requires (RFC 9110 section 9.3.2)."""
        return self.with_body(())


def _same_part(one: BodyPart, other: BodyPart) -> bool:
    if isinstance(one, bytes):
        return one == other
    return isinstance(other, FileSlice) and (one.start, one.stop) == (other.start, other.stop)


def encode_head(response: Response, date: str, connection: str | None) -> bytes:
    """Return the status line and the headers (RFC 9112 sections 4 and 5).

    date: the value of Date; connection: the value of Connection, None for no such header.
    """
    status = response.status
    head = f"HTTP/1.1 {status} {REASON_PHRASES[status]}\r\nDate: {date}\r\n"
    for name, value in response.headers:
        head += f"{name}: {value}\r\n"
    if response.length is not None:
        head += f"Content-Length: {response.length}\r\n"
    if connection is not None:
        head += f"Connection: {connection}\r\n"
    return (head + "\r\n").encode("latin-1")
