"""Requests, responses and refusals as plain values."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, str], ...]
"""Field lines in the order they are sent: (name, value)."""

# RFC 9110 renamed three reason phrases; the standard library of Python 3.11 has the old ones.
REASON_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
}


NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Of what we write ourselves: nobody is to read HTML into it that a request has put there.

Not of files: whoever serves a script without a suffix relies on the browser to look into it.
"""


class HttpError(Exception):
    """A request that is answered with an error: raised where a rule breaks, answered in one place.

    status: the error's status code; why: one sentence for the person who sent the request, with
    nothing of the request in it; fields: what the status obliges us to send with it; close: the
    rest of the connection's bytes cannot be trusted, or are not wanted.
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
    """Where the octets of a representation are: an open file, or memory.

    is_local: whether nothing slower than a disk is ever waited for.
    """

    is_local: bool

    def read(self, start: int, stop: int) -> bytes:
        """Return the octets of [start, stop); fewer if the content has become shorter."""

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        """Tell whether the octets of [start, stop) can be had without waiting for a disk."""

    def is_unchanged(self) -> bool:
        """Tell whether the content is what it was when its validator was made."""

    def fileno(self) -> int:
        """Return the descriptor to stream from; raises OSError where there is none."""

    def close(self) -> None:
        """Give up what can be read from; who is not at hand may be waited for even in this."""


class FileSlice:
    """The octets [start, stop) of a content, to be sent without being held in memory."""

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
    """One request as far as a file server is concerned with it.

    method, target: as received; target "" where the request line could not be read.
    minor: the minor version of HTTP/1 that the client speaks, 0 or 1.
    fields: the fields that decide an answer, names in lower case, lines of one name joined by ", "
    (RFC 9110 section 5.3).
    head: the whole head as received, in Latin-1, for the log and for TRACE.
    refusal: set where the message itself is at fault; it is then the answer.
    """

    method: str
    target: str
    minor: int = 1
    headers: Mapping[str, str] = MappingProxyType({})
    head: str = ""
    error: HttpError | None = None


class Response(NamedTuple):
    """One final response. length: the Content-Length to declare, None for none.

    For HEAD the length is declared though body is empty. close: the connection ends with it.
    tunnel: host and port that the connection is to be joined with, once the response has left.
    keepable: it may be given again for as long as nothing changes here.
    """

    status: int
    headers: Headers = ()
    body: tuple[BodyPart, ...] = ()
    length: int | None = None
    close: bool = False
    tunnel: tuple[str, int] | None = None
    cacheable: bool = False

    def same_as(self, other: "Response") -> bool:
        """Tell whether two responses are the same on the wire, as far as their validators tell."""
        mine, others = self.without_body(), other.without_body()
        return mine == others and all(map(_same_part, self.body, other.body))

    def with_body(self, body: tuple[BodyPart, ...]) -> "Response":
        """Return the same head with another body."""
        status, fields, _, length, close, tunnel, keepable = self
        return Response(status, fields, body, length, close, tunnel, keepable)

    def without_body(self) -> "Response":
        """Return the same head with no content, as HEAD wants it (RFC 9110 section 9.3.2)."""
        return self.with_body(())


def _same_part(one: BodyPart, other: BodyPart) -> bool:
    if isinstance(one, bytes):
        return one == other
    return isinstance(other, FileSlice) and (one.start, one.stop) == (other.start, other.stop)


def encode_head(response: Response, date: str, connection: str | None) -> bytes:
    """Return status line and field section (RFC 9112 section 4 and 5).

    date: the Date field's value; connection: the Connection field's value, None for no such field.
    """
    status = response.status
    head = f"HTTP/1.1 {status} {REASON_PHRASES[status]}\r\nDate: {date}\r\nServer: aserve\r\n"
    for name, value in response.headers:
        head += f"{name}: {value}\r\n"
    if response.length is not None:
        head += f"Content-Length: {response.length}\r\n"
    if connection is not None:
        head += f"Connection: {connection}\r\n"
    return (head + "\r\n").encode("latin-1")
