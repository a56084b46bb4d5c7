"""Which pages of other sites may read responses: CORS (WHATWG Fetch, 3.2).

There are no credentials: no cookie and no password of a user is part of such a request.
"""

import re

from aserve.cache.keys import KeyedOn
from aserve.handlers.handler import Note, RequestContext
from aserve.http.header_changes import HeaderChange, change_headers
from aserve.http.messages import Headers, Request, Response
from aserve.http.origins import Origins
from aserve.policies.policy import Policy

_READING = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_AGE = ("Access-Control-Max-Age", "7200")
"""Seconds; Chromium remembers a preflight no longer."""

# Without it, a page sees only a few headers of a response (Fetch, 3.2.3 and 2.2.6).
_EXPOSED_NAMES = (
    "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Range, ETag, Link, Location, "
    "Repr-Digest, Retry-After, Search-Complete, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, X-Total-Count"
)
_EXPOSED = ("Access-Control-Expose-Headers", _EXPOSED_NAMES)


class AnyOrigin(Policy):
    """Lets pages of all sites read, by headers that every response has.

    They may not write: what a page of any site could do, a page that a user happens to open could
    do with the rights of that user's network.
    """

    response_headers = (("Access-Control-Allow-Origin", "*"), _EXPOSED)

    def __init__(self, place: str = "") -> None:
        self.notes = (Note("header", "pages of all sites may read it", place),)

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:  # noqa: ARG002 - Policy
        """Return a response that answers a preflight as well, if the request is one."""
        if request.method != "OPTIONS":
            return response
        return _answer_preflight(request, response, may_write=False)


class ListedOrigins(Policy):
    """Lets pages of some origins read, and write where clients may write at all.

    place: where they are listed.
    """

    keyed_on = KeyedOn(headers=frozenset({"origin"}))

    def __init__(self, origins: Origins, place: str = "") -> None:
        self._origins = origins
        self._place = place

    def finish(self, request: Request, context: RequestContext, response: Response) -> Response:
        """Return a response that names the page's origin, if it is one of them.

        Each says that it depends on the origin, so that no cache in between mixes them up.
        """
        headers: Headers = (("Vary", "Origin"),)
        origin = request.header("origin")
        is_listed = origin is not None and origin in self._origins
        if context.notes is not None:
            readers = f"pages of {origin}" if is_listed else "no pages of other sites"
            context.notes.append(Note("header", f"{readers} may read it", self._place))
        if origin and is_listed:
            headers += (("Access-Control-Allow-Origin", origin), _EXPOSED)
        response = change_headers(request, response, [HeaderChange(set=headers)])
        if is_listed and request.method == "OPTIONS":
            return _answer_preflight(request, response, may_write=True)
        return response


def _answer_preflight(request: Request, response: Response, *, may_write: bool) -> Response:
    """Return the response to OPTIONS with what a page may do, if that was asked (Fetch, 4.8)."""
    method = request.header("access-control-request-method")
    if method is None or response.status >= 300:
        return response
    allow = next((value for name, value in response.headers if name == "Allow"), method)
    methods = [
        name for each in allow.split(",") if (name := each.strip()) and _TOKEN.fullmatch(name)
    ]
    allowed = [name for name in methods if may_write or name in _READING]
    headers: Headers = (("Access-Control-Allow-Methods", ", ".join(allowed)), _MAX_AGE)
    if names := _header_names(request.header("access-control-request-headers")):
        headers += (("Access-Control-Allow-Headers", names),)
    vary = ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
    return change_headers(request, response, [HeaderChange(set=(*headers, vary))])


def _header_names(text: str | None) -> str:
    """Return a list of names of headers as it is, "" for anything else."""
    names = [name.strip(" \t") for name in (text or "").split(",")]
    return ", ".join(names) if all(map(_TOKEN.fullmatch, names)) else ""
