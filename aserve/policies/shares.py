"""Links to one file or folder: a URL that no one can guess leads to a view of that alone.

Of each link there is one URL, below which nothing but the file, or the folder, is reachable:
what is asked for is asked of a site of its own, in which nothing else is there. Its path in the
site is not told: behind what is secret the URL has the name of the file or folder.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256

from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import (
    BodySink,
    Header,
    Headers,
    HttpError,
    NotFound,
    Request,
    Response,
    close_streams,
)
from aserve.http.query import parse_parameters
from aserve.http.request_target import TargetPath, parse_path
from aserve.policies.https import SCHEME
from aserve.policies.router import Router
from aserve.policies.site import Site
from aserve.shares.links import Delivery, Link, LinkBusyError, LinkEndedError, Piece, StoreError
from aserve.shares.store import ShareStore

PREFIX = "/.aserve/s/"
"""What the URL of each link begins with."""

_PREFIX_SEGMENTS = (b".aserve", b"s")
_METHODS = frozenset({"GET", "HEAD"})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RETRY_AFTER = (("Retry-After", "60"),)

_OWN_HEADERS: Headers = (
    # No one but the client keeps it, and asks before each use: a link that has ended has ended for
    # all. no-store would have a browser fetch a picture twice to save it, which counts twice.
    ("Cache-Control", "private, no-cache"),
    ("Referrer-Policy", "no-referrer"),  # or a page would tell the link to what it links to
    ("X-Robots-Tag", "noindex, nofollow"),
)
_OWN_NAMES = frozenset(name.lower() for name, _ in _OWN_HEADERS)

Locate = Callable[[bytes], Sequence[bytes]]
"""Returns the paths of a site that lead to a file or folder on the disk, which may wait: the one to
use first, none if it is not served there."""
BuildSite = Callable[[tuple[bytes, ...]], Site]
"""Returns the site of what is at such paths: remembered, since it is asked for each request."""

_logger = logging.getLogger("aserve")


class ShareRouter(Router):
    """Answers the URLs of links, and passes all other requests to the site.

    place: where links are switched on. needs_tls: whether the site redirects from http to https.
    A link that was never made and one that has ended are answered alike, as if nothing was there.
    """

    def __init__(  # noqa: PLR0913 - all that decides what a link leads to
        self,
        site: Site,
        store: ShareStore,
        locate: Locate,
        build: BuildSite,
        *,
        decode_slashes: bool = False,
        needs_tls: bool = False,
        place: str = "",
    ) -> None:
        super().__init__((site,))
        self._store = store
        self._locate = locate
        self._build = build
        self._decode_slashes = decode_slashes
        self._needs_tls = needs_tls
        self._place = place

    def select(self, request: Request) -> int:  # noqa: ARG002 - Router
        """Return the one site."""
        return 0

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return what a link leads to, or what the site returns.

        Raises BlockingIOError as Site.handle does.
        """
        path = None if request.error else self._path_of(request)
        if path is None or (self._needs_tls and context.scheme != SCHEME):
            return self._sites[0].handle(request, context)
        try:
            response = self._follow(request, context, path)
        except HttpError as error:
            failed = request._replace(error=error)
            response = self._sites[0].handle(failed, context)
        return _of_link(response)

    def _accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        return super()._accept_body(request, context) if self._path_of(request) is None else None

    def _path_of(self, request: Request) -> TargetPath | None:
        """Return the path of a request that is one of links, None for any other."""
        if PREFIX not in request.target:
            return None
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            return None
        return path if path.segments[: len(_PREFIX_SEGMENTS)] == _PREFIX_SEGMENTS else None

    def _follow(self, request: Request, context: RequestContext, path: TargetPath) -> Response:
        """Return what is at the path of a link. Raises HttpError, and BlockingIOError."""
        if request.method not in _METHODS:
            raise HttpError(405, "A link can only be read.", (("Allow", "GET, HEAD"),))
        if not context.may_wait:
            raise BlockingIOError
        token, name, *below = (*path.segments[len(_PREFIX_SEGMENTS) :], b"", b"")
        link = self._find(token.decode("latin-1"), context.now)
        tops = tuple(self._locate(link.path)) if link and link.name == name else ()
        if not (link and tops):
            raise NotFound
        inner = path._replace(segments=(*_names(tops[0]), *below[:-2]))
        if not (inner.segments or path.is_directory):  # the root, of which the site knows no other
            location = path._replace(is_directory=True).location()
            reason = "The URL of a folder ends with a slash."
            raise HttpError(301, reason, (("Location", location),))
        if context.notes is not None:
            shown = repr((tops[0] or b"/").decode(errors="replace"))
            context.notes.append(Note("access", f"a link to {shown}", self._place))
        site = self._build(tops)
        response = site.handle(_request_of(request, inner), context)
        if location := _location_of(response):
            outer = _outer_location(location, tops[0], (*_PREFIX_SEGMENTS, token, name))
            error = HttpError(response.status, "What you look for is there.", (outer,))
            return site.handle(request._replace(error=error), context)
        return self._counted(request, context, link, inner, response)

    def _find(self, token: str, now: int) -> Link | None:
        try:
            return self._store.find(token, now)
        except StoreError as error:
            raise _unavailable(error) from None

    def _counted(
        self,
        request: Request,
        context: RequestContext,
        link: Link,
        path: TargetPath,
        response: Response,
    ) -> Response:
        """Return a response that counts as a download, once it was delivered, if it is one."""
        piece = _piece_of(response, path) if _is_download(request, path) else None
        if piece is None:
            return response
        try:
            delivery = self._store.begin(link, piece, context.now)
        except LinkEndedError:
            error: HttpError = NotFound()
        except LinkBusyError:
            reason = "All downloads that are left are under way. Try again later."
            error = HttpError(503, reason, _RETRY_AFTER)
        except StoreError as reason:
            error = _unavailable(reason)
        else:
            return response._replace(on_end=partial(self._end, delivery, context.now))
        close_streams(response.body)
        raise error

    def _end(self, delivery: Delivery, now: int, body_size: int, is_truncated: bool) -> None:
        """Count what was delivered."""
        delivered = delivery.part(body_size) if is_truncated else delivery.piece
        try:
            self._store.end(delivery, delivered, now)
        except StoreError as error:
            _logger.error("a download is not counted: %s", error)


def _names(top: bytes) -> tuple[bytes, ...]:
    """Return the names on a path of the site, which has a slash before each."""
    return tuple(top.split(b"/")[1:])


def _outer_location(location: str, top: bytes, link: tuple[bytes, ...]) -> Header:
    """Return a Location header of the site as that of a link. Raises NotFound where it leads out.

    link: the names on the path of its URL, which stand for those of top.
    """
    try:
        path = parse_path(location)
    except HttpError:
        raise NotFound from None
    names = _names(top)
    if not location.startswith("/") or path.segments[: len(names)] != names:
        raise NotFound
    return "Location", path._replace(segments=(*link, *path.segments[len(names) :])).location()


def _location_of(response: Response) -> str:
    if not 300 <= response.status < 400:
        return ""
    return next((value for name, value in response.headers if name.lower() == "location"), "")


def _request_of(request: Request, path: TargetPath) -> Request:
    """Return a request for a path of the site.

    Of several ranges none is looked at, as RFC 9110 section 14.2 allows: then what is delivered of
    a file is one piece of it.
    """
    headers = request.headers
    if "," in headers.get("range", ""):
        headers = {name: value for name, value in headers.items() if name != "range"}
    return request._replace(target=path.location(), headers=headers)


def _is_download(request: Request, path: TargetPath) -> bool:
    """Tell whether a request is for a file or an archive. That of a folder is for a page."""
    if request.method != "GET":
        return False
    return not path.is_directory or "archive" in parse_parameters(path.query)


def _piece_of(response: Response, path: TargetPath) -> Piece | None:
    """Return which piece of which file is the body of a response, None for any other response."""
    if response.status == 200:
        size = response.length or 1  # as Coverage has it
        start, stop = 0, size
    elif response.status == 206:
        value = next((value for name, value in response.headers if name == "Content-Range"), "")
        match = _CONTENT_RANGE.fullmatch(value)
        if match is None:
            return None
        start, last, size = map(int, match.groups())
        stop = last + 1
    else:
        return None
    # Only what every response with a piece of it has: one to If-Range has few headers.
    tag = next((value for name, value in response.headers if name == "ETag"), "")
    state = repr((path.segments, tag, size))
    return Piece(sha256(state.encode()).hexdigest()[:32], size, start, stop)


def _of_link(response: Response) -> Response:
    """Return a response with the headers of links, which no cache of ours keeps."""
    kept = (header for header in response.headers if header[0].lower() not in _OWN_NAMES)
    headers = (*kept, *_OWN_HEADERS)
    return response.with_headers(headers)._replace(path=b"", absent=())


def _unavailable(error: StoreError) -> HttpError:
    _logger.error("links cannot be followed: %s", error)
    return HttpError(503, "Links cannot be followed at the moment. Try again later.")
