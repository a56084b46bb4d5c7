"""Requests, responses and HTTP errors as plain values."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from math import inf
from operator import methodcaller
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

Header = tuple[str, str]
"""One header line: name and value."""

Headers = tuple[Header, ...]
"""Header lines in the order they are sent."""

# RFC 9110 renamed three reason phrases; Python 3.11's standard library has the old ones.
REASON_PHRASES: Mapping[int, str] = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    460: "Checksum Mismatch",  # of tus, the protocol of uploads in parts
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
        if status not in REASON_PHRASES:
            raise ValueError(f"{status} is no status code")
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.close = close


class NotFound(HttpError):
    """404: there is no such file.

    absent: the paths at which it was looked for, as in Response.absent.
    """

    def __init__(self, absent: tuple[bytes, ...] = ()) -> None:
        super().__init__(404, "Nothing is here.")
        self.absent = absent


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


class BodyStream:
    """Bytes that a handler makes while they are sent: never more of them than the client reads.

    pieces: an iterable of bytes; if it is a generator, it is closed when the client goes away.
    may_wait: whether the next piece may have to be waited for. An event loop leaves that to a
    thread; other models wait themselves, as they do for files.
    """

    __slots__ = (
        "_is_cancelled",
        "_pieces",
        "may_wait",
    )

    def __init__(self, pieces: Iterable[bytes], *, may_wait: bool = True) -> None:
        self._pieces = iter(pieces)
        self._is_cancelled = False
        self.may_wait = may_wait

    def __len__(self) -> int:
        """Return 0: none of its bytes are there yet."""
        return 0

    def __bool__(self) -> bool:
        """Return True: there may be some."""
        return True

    def read(self, until: float = inf) -> bytes | None:
        """Return the next bytes, b"" at the end. Raises what the iterable raises.

        Empty pieces are passed over: an iterable that works long for a piece yields some meanwhile.
        until: a time of time.monotonic, after which one is no longer passed over: None, not yet.
        """
        for piece in self._pieces:
            if piece or self._is_cancelled:
                return piece
            if until < inf and monotonic() > until:
                return None
        return b""

    def cancel(self) -> None:
        """Let a read that is under way, in another thread, return with the next piece."""
        self._is_cancelled = True

    def close(self) -> None:
        """Close the generator. Like read, it may have to wait, and never runs at the same time."""
        if close := getattr(self._pieces, "close", None):
            close()
        self._pieces = iter(())  # one that never ran keeps its arguments, from Python 3.12 on


OnEnd = Callable[[int, bool], None]
"""Called once when a response has ended, however it does.

It gets how many bytes of the body were sent, and whether the rest was not: is_truncated. It may
wait, so an event loop leaves it to a thread. Of a body that was not truncated the kernel has all.
"""

SizedPart = bytes | FileSlice
BodyPart = SizedPart | BodyStream

CloseStream = Callable[[BodyStream], None]


def close_streams(parts: Iterable[BodyPart], close: CloseStream = methodcaller("close")) -> None:
    """Close the streams of a response that will not be sent, or not to its end."""
    for part in parts:
        if isinstance(part, BodyStream):
            close(part)


class Takeover(Protocol):
    """Has a connection for itself once the head of its response was sent: as a tunnel has.

    needs_descriptor: whether it holds a descriptor besides the connection's own.
    """

    needs_descriptor: bool

    async def prepare(self) -> None:
        """Do what must have succeeded before the head is sent. Raises HttpError."""

    def start(
        self,
        transport: Any,
        received: bytes,
        *,
        has_ended: bool,
        on_closed: Callable[[Exception | None], None],
    ) -> None:
        """Own an asyncio.Transport from now on, and set its protocol.

        received: what the client has sent after its request. has_ended: whether it sends no more.
        on_closed: to be called once the transport, and all else, is closed.
        """

    def tick(self) -> None:
        """Note that a second has passed."""

    def stop(self) -> None:
        """End soon: the server stops, and aborts after its grace period."""

    def abort(self) -> None:
        """Close at once, also before start: the client has gone, or there was an error."""


class Request(NamedTuple):
    """One request, as far as it matters to a file server.

    method, target: as received; target is "" if the request line could not be parsed.
    minor: the client's minor version of HTTP/1, 0 or 1.
    headers: the headers that decide which file is sent and how, names in lower case, lines of one
    name joined by ", " (RFC 9110 section 5.3). header() finds any other.
    head: the whole head as received, in Latin-1, for the log and for TRACE.
    error: set if the message itself is invalid; it is then the response.
    received: bytes of its body that a handler got; for the log, and only known at the end.
    """

    method: str
    target: str
    minor: int = 1
    headers: Mapping[str, str] = MappingProxyType({})
    head: str = ""
    error: HttpError | None = None
    received: int = 0

    def header(self, name: str) -> str | None:
        """Return the value of any header of the head, None if there is none.

        name: in lower case. It is looked for when it is asked for: most requests are answered
        without. Lines of one name are joined by ", ", and those of Cookie by "; " (RFC 6265
        section 5.4).
        """
        values = _header_lines(name).findall(self.head)
        if not values:
            return None
        return ("; " if name == "cookie" else ", ").join(value.rstrip(" \t") for value in values)

    def has_any(self, *names: str) -> bool:
        """Tell whether any of some headers is in the head, in one search. names: in lower case."""
        return _header_lines(*names).search(self.head) is not None


@lru_cache(maxsize=64)
def _header_lines(*names: str) -> re.Pattern[str]:
    """Return the pattern of the lines of some headers in a head, with the value as its group."""
    pattern = "|".join(map(re.escape, names))
    return re.compile(rf"\r\n(?:{pattern}):[ \t]*([^\r]*)", re.IGNORECASE)


class Response(NamedTuple):
    """One final response.

    body: its parts in order; a BodyStream is always alone. length: the Content-Length in bytes,
    None for no such header; a response to HEAD has one though its body is empty. A BodyStream
    without a length is sent in chunks. close: close the connection afterwards. takeover: gets
    the connection once the head has been sent, which then has no Connection header but its own.
    path: the path of the file it was made from; the response cache may send it again until
    something on that path changes. b"": it is not cacheable. absent: paths at which no file was
    found, and which would have come first: it is valid only as long as none is there. echoes: the
    body has a part of the request in it, so that it is not compressed. on_end: is told of its end;
    such a response must not be cached, since the same response from memory has none.
    """

    status: int
    headers: Headers = ()
    body: tuple[BodyPart, ...] = ()
    length: int | None = None
    close: bool = False
    takeover: Takeover | None = None
    path: bytes = b""
    absent: tuple[bytes, ...] = ()
    echoes: bool = False
    on_end: OnEnd | None = None

    def same_as(self, other: "Response") -> bool:
        """Tell whether two responses are equal on the wire, as far as their validators show."""
        mine, others = self.without_body(), other.without_body()
        return mine == others and all(map(_same_part, self.body, other.body))

    def with_body(self, body: tuple[BodyPart, ...]) -> "Response":
        """Return the same head with another body."""
        return self.with_headers(self.headers, body)

    def with_headers(
        self, headers: Headers, body: tuple[BodyPart, ...] | None = None
    ) -> "Response":
        """Return the same response with other headers, and another body if it is given."""
        status, _, same_body, length, close, takeover, path, absent, echoes, on_end = self
        body = same_body if body is None else body
        values = status, headers, body, length, close, takeover, path, absent, echoes, on_end
        return tuple.__new__(Response, values)  # for each response, so without a frame of __new__

    def without_body(self) -> "Response":
        """Return the same head without a body, as HEAD requires (RFC 9110 section 9.3.2)."""
        return self.with_body(())


class BodySink(Protocol):
    """Gets a request body while it arrives, and makes the response once it is complete.

    max_size: in bytes; a larger body is answered with 413, before any of it is read if its length
    is known. may_wait: whether the methods may have to wait, for a disk. An event loop leaves them
    to a thread then; no two of them run at the same time.

    It may have one method more, store(data) of type StoreBody: then that is called, and none but
    close after it, for a body that is there as a whole before begin was called.
    """

    max_size: int
    may_wait: bool

    def begin(self) -> None:
        """Check what can be checked before the body, and open what it is stored in.

        The first call, and the only one of its kind: none of the body is taken, and 100 (Continue)
        is not sent, before it returns. Raises HttpError.
        """

    def write(self, data: bytes) -> None:
        """Take the next bytes. Nothing more is read before it returns. Raises HttpError."""

    def respond(self) -> Response:
        """Return the response to the whole body. Raises HttpError."""

    def close(self) -> None:
        """Release everything: the last call, whether the body was complete or not."""


StoreBody = Callable[[bytes], Response]
"""Returns the response to a whole body. Raises HttpError.

It does what begin, write and respond do, for less: nothing changes meanwhile.
"""


def _same_part(one: BodyPart, other: BodyPart) -> bool:
    if isinstance(one, FileSlice) and isinstance(other, FileSlice):
        return (one.start, one.stop) == (other.start, other.stop)
    return isinstance(one, bytes) and one == other
