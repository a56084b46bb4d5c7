"""PROPFIND: what a path leads to, and what is in a folder, for WebDAV clients (RFC 4918 9.1)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from time import monotonic

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.listed import IsListed, directory_path
from aserve.filesystem.steps import in_steps, turns
from aserve.handlers.dav.multistatus import (
    BEGINNING,
    DECLARATION,
    END,
    XML_HEADERS,
    response_element,
    xml_text,
)
from aserve.handlers.dav.properties import Describe, Properties
from aserve.handlers.dav.query import parse_query
from aserve.handlers.handler import RequestContext
from aserve.handlers.listing.names import name_reference
from aserve.http.media_types import MediaTypes
from aserve.http.messages import (
    BodySink,
    BodyStream,
    Headers,
    HttpError,
    NotFound,
    Request,
    Response,
)
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import Entry

MAX_BODY = 65_536  # bytes: what clients ask for has a few hundred

_AT_ONCE = 32  # entries that are looked up together: half a millisecond
_PIECE_SIZE = 65_536  # bytes that are made at once, or little more


class Propfind:
    """Answers PROPFIND with what the file system shows: what is hidden there is hidden here.

    is_listed: tells of which folders the contents may be told. has_tags: whether files have entity
    tags that are made of their state.
    """

    def __init__(
        self,
        files: FileSystem,
        media_types: MediaTypes | None = None,
        is_listed: IsListed = lambda _: True,
        *,
        decode_slashes: bool = False,
        has_tags: bool = True,
    ) -> None:
        self._files = files
        self._is_listed = is_listed
        self._properties = Properties(media_types or MediaTypes(), has_tags=has_tags)
        self._decode_slashes = decode_slashes

    def accept_body(self, request: Request, context: RequestContext) -> BodySink:
        """Return what gets the body, and answers."""
        return _QuerySink(partial(self._respond, request, context.now))

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Answer a request without a body."""
        if not context.may_wait:
            raise BlockingIOError
        return self._respond(request, context.now, b"")

    def _respond(self, request: Request, now: int, body: bytes) -> Response:
        with turns:
            return self._answer(request, now, body)

    def _answer(self, request: Request, now: int, body: bytes) -> Response:
        """Return the properties of a resource, and of those in it. Raises HttpError."""
        path = parse_path(request.target, decode_slashes=self._decode_slashes)
        depth = (request.header("depth") or "infinity").strip(" \t").lower()
        if depth == "infinity":
            return _infinite_depth()
        if depth not in {"0", "1"}:
            raise HttpError(400, "The header Depth must be 0 or 1.")
        describe = self._properties.describer(parse_query(body), now)
        entry = self._files.entry(path)
        if path.is_directory and not entry.is_directory:
            raise NotFound
        here = TargetPath(path.segments, entry.is_directory)
        # A folder that is asked for without its slash is answered all the same (section 5.2).
        moved: Headers = ()
        if here != path._replace(query=""):
            moved = (("Content-Location", _location(here)),)
        below = self._members(here) if here.is_directory and depth == "1" else ()
        return _multi_status(XML_HEADERS + moved, _responses(here, entry, below, describe))

    def _members(self, folder: TargetPath) -> Sequence[Entry]:
        """Return what is in a folder. Raises HttpError."""
        if not self._is_listed(directory_path(folder.segments)):
            raise HttpError(403, "This folder is not listed.")
        return self._files.entries(folder)


class _QuerySink:
    """Reads the body of a PROPFIND."""

    max_size = MAX_BODY
    may_wait = True

    def __init__(self, respond: Callable[[bytes], Response]) -> None:
        self._respond = respond
        self._body = bytearray()

    def begin(self) -> None:
        """Do nothing."""

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._body += data

    def respond(self) -> Response:
        """Return the response. Raises HttpError."""
        return self._respond(bytes(self._body))

    def close(self) -> None:
        """Do nothing."""


def _responses(
    path: TargetPath, entry: Entry, below: Sequence[Entry], describe: Describe
) -> Iterator[str]:
    """Yield what is said of a resource, and then of each in it."""
    location = _location(path)
    yield response_element(location, describe(entry))
    # By a clock that all threads share: each piece may be made in another one.
    for start in in_steps(range(0, len(below), _AT_ONCE), 1, monotonic):
        for one in below[start : start + _AT_ONCE]:
            reference = name_reference(one.name, is_directory=one.is_directory)
            yield response_element(location + reference, describe(one))


def _location(path: TargetPath) -> str:
    """Return a path as clients encode it that compare it with theirs: as name_reference does."""
    is_root = not path.segments
    return "/" + name_reference(
        b"/".join(path.segments), is_directory=path.is_directory and not is_root
    )


def _multi_status(headers: Headers, responses: Iterator[str]) -> Response:
    """Return a 207, which is made while it is sent if it takes more than a piece or two."""
    pieces = _pieces(chain((BEGINNING,), responses, (END,)))
    first, second = next(pieces), next(pieces, None)
    if second is None:
        # It has the path and the names of the properties that are asked for.
        return Response(207, headers, (first,), len(first), echoes=True)
    return Response(207, headers, (BodyStream(chain((first, second), pieces)),))


def _pieces(texts: Iterator[str]) -> Iterator[bytes]:
    while piece := _next_piece(texts):
        yield piece


def _next_piece(texts: Iterator[str]) -> bytes:
    """Return the next bytes, b"" at the end."""
    piece = bytearray()
    with turns:
        for text in texts:
            piece += text.encode()
            if len(piece) >= _PIECE_SIZE:
                break
    return bytes(piece)


def _infinite_depth() -> Response:
    """Return the refusal of a whole tree, which any folder may be the top of (section 9.1)."""
    detail = xml_text("The header Depth must be 0 or 1: a folder is listed by itself.")
    # There is no element for a text here. This one is what clients show of a server that many use.
    text = f'<s:message xmlns:s="http://sabredav.org/ns">{detail}</s:message>'
    error = f'<D:error xmlns:D="DAV:"><D:propfind-finite-depth/>{text}</D:error>'
    body = f"{DECLARATION}{error}\n".encode()
    return Response(403, XML_HEADERS, (body,), len(body))
