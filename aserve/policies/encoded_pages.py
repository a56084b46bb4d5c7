"""Compresses the bodies that handlers make: listings, error pages, what a program answers."""

from collections import OrderedDict
from threading import Lock

from aserve.compression.codecs import FAST_LEVELS, available_codings, compressor
from aserve.compression.worthwhile import MAX_RATIO, MIN_SIZE, is_packed
from aserve.handlers.handler import RequestContext
from aserve.http.content_negotiation import preferred_codings
from aserve.http.messages import Headers, Request, Response
from aserve.policies.policy import Policy

_MAX_STORED = 1 << 20  # bytes of all bodies, with what they are encoded
_MAX_STORED_SIZE = 65_536  # bytes: error pages, a site's own too, and small listings
_MAX_ON_LOOP = 4_096  # bytes, which take 0.05 to 0.1 ms; error pages have 1,500, and are stored
_NO_BODY = frozenset({204, 304})


class EncodedPages(Policy):
    """Sends bodies that handlers made in the coding that the client likes best, as fast as can be.

    A response that varies by Accept-Encoding already was negotiated by who made it, as a file is.
    One with a part of the request in it is left as it is: its size would tell what else is in it
    (BREACH). So is one with Cache-Control: no-transform, though that is for proxies (RFC 9111
    section 5.2.2.6): a program can say so with it. The entity tag becomes a weak one: the content
    is the same, its bytes are not (RFC 9110 section 8.8.1).
    """

    finishes_files = False  # they were negotiated already

    def __init__(self) -> None:
        self._codings = tuple(coding for coding in FAST_LEVELS if coding in available_codings())
        self._stored: OrderedDict[tuple[bytes, str], bytes] = OrderedDict()
        self._stored_size = 0
        self._lock = Lock()

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return the response in a coding, if it is worth it.

        Raises BlockingIOError for a large body where context.may_wait is False.
        """
        if response.path or response.takeover:
            return response
        if response.status == 304:
            return _weakened_as(request, response)
        return self._negotiate(request, context, response) if _can_encode(response) else response

    def _negotiate(self, request: Request, context: RequestContext, response: Response) -> Response:
        response = response.with_headers(_varying(response.headers))
        accepted = request.headers.get("accept-encoding", "")
        codings = preferred_codings(accepted, self._codings) if accepted else ()
        if not codings:
            return response
        body = b"".join(part for part in response.body if isinstance(part, bytes))
        encoded = self._stored_or_made(body, codings[0], request, context)
        if len(encoded) > len(body) * MAX_RATIO:
            return response
        headers = (*map(_weakened, response.headers), ("Content-Encoding", codings[0]))
        return response.with_headers(headers, (encoded,))._replace(length=len(encoded))

    def _stored_or_made(
        self, body: bytes, coding: str, request: Request, context: RequestContext
    ) -> bytes:
        """Return a body in a coding, or as it is if there is no time for that."""
        with self._lock:
            if stored := self._stored.get((body, coding)):
                self._stored.move_to_end((body, coding))
                return stored
        if len(body) > _MAX_ON_LOOP and not context.may_wait:
            if request.error:  # of an overload: it is answered at once
                return body
            raise BlockingIOError
        return self._make(body, coding)

    def _make(self, body: bytes, coding: str) -> bytes:
        encoder = compressor(coding, FAST_LEVELS[coding])
        encoded = encoder.compress(body) + encoder.flush()
        if len(body) <= _MAX_STORED_SIZE:
            self._store(body, coding, encoded)
        return encoded

    def _store(self, body: bytes, coding: str, encoded: bytes) -> None:
        """Store a body in a coding, and drop the least recently used ones."""
        with self._lock:
            if (body, coding) in self._stored:  # by another thread meanwhile
                return
            self._stored[body, coding] = encoded
            self._stored_size += len(body) + len(encoded)
            while self._stored_size > _MAX_STORED:
                (former, _), dropped = self._stored.popitem(last=False)
                self._stored_size -= len(former) + len(dropped)


def _varying(headers: Headers) -> Headers:
    """Return headers that say that other clients may get the content in other codings."""
    values = [value for name, value in headers if name.lower() == "vary"]
    others = (header for header in headers if header[0].lower() != "vary")
    return (*others, ("Vary", ", ".join((*values, "Accept-Encoding"))))


def _can_encode(response: Response) -> bool:
    if response.echoes or not response.body or response.status in _NO_BODY | {206}:
        return False
    if sum(map(len, response.body)) < MIN_SIZE:
        return False
    if not all(isinstance(part, bytes) for part in response.body):
        return False
    headers = {name.lower(): value for name, value in response.headers}
    # Several lines of Vary may have come together: any of them tells.
    varies = any(
        "accept-encoding" in value.lower()
        for name, value in response.headers
        if name.lower() == "vary"
    )
    media_type = headers.get("content-type", "application/octet-stream")
    is_refused = "no-transform" in headers.get("cache-control", "").lower()
    return not (varies or is_refused or "content-encoding" in headers or is_packed(media_type))


def _weakened_as(request: Request, response: Response) -> Response:
    """Return a response that says of the client's page what it has: its tag may be weak."""
    known = request.headers.get("if-none-match", "")
    headers: Headers = tuple(
        (name, f"W/{value}") if name == "ETag" and f"W/{value}" in known else (name, value)
        for name, value in response.headers
    )
    return response if headers == response.headers else response.with_headers(headers)


def _weakened(header: tuple[str, str]) -> tuple[str, str]:
    name, value = header
    return (name, f"W/{value}") if name.lower() == "etag" and value.startswith('"') else header
