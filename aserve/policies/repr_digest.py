"""The digest of a file, for clients that ask for it by Want-Repr-Digest (RFC 9530 section 4)."""

import os
import re

from aserve.cache.keys import KeyedOn
from aserve.filesystem.writing.digest_cache import ALGORITHMS, DigestCache
from aserve.handlers.handler import Handler, RequestContext
from aserve.handlers.writing.digests import format_digest
from aserve.http.messages import FileSlice, Request, Response
from aserve.policies.policy import Policy

_HEADER = "want-repr-digest"
_PREFERENCE = re.compile(r"([a-z*][a-z0-9_.*-]*)=(\d{1,2})", re.ASCII)


class ReprDigest(Policy):
    """Adds Repr-Digest to files, from a memory of hashes or by reading the file."""

    keyed_on = KeyedOn(headers=frozenset({_HEADER}))

    def __init__(self, digests: DigestCache) -> None:
        self._digests = digests

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler that adds the digest to what handler returns."""
        return _DigestingHandler(handler, self._digests)


class _DigestingHandler:
    """Answers as a handler does, with the digest of the file."""

    def __init__(self, handler: Handler, digests: DigestCache) -> None:
        self._handler = handler
        self._digests = digests
        self.accept_body = getattr(handler, "accept_body", None)

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the handler's response, with Repr-Digest if the client wants it."""
        algorithm = preferred_algorithm(request)
        if not algorithm:
            return self._handler.handle(request, context)
        response = self._handler.handle(_as_get(request), context)
        if digest := self._digest_of(response, algorithm, context):
            added = ("Repr-Digest", format_digest(algorithm, digest))
            response = response.with_headers((*response.headers, added))
        return response.without_body() if request.method == "HEAD" else response

    def _digest_of(
        self, response: Response, algorithm: str, context: RequestContext
    ) -> bytes | None:
        """Return the hash of the whole file that a response is made from, if it is made from one.

        Raises BlockingIOError where context.may_wait is False and the file has to be read.
        """
        part = next((part for part in response.body if isinstance(part, FileSlice)), None)
        try:
            descriptor = part.source.fileno() if part else None
            if descriptor is None or context.may_wait:
                return None if descriptor is None else self._digests.compute(descriptor, algorithm)
            known = self._digests.get(os.fstat(descriptor), algorithm)
        except OSError:
            return None
        if known is None:
            raise BlockingIOError
        return known


def preferred_algorithm(request: Request) -> str:
    """Return the algorithm that a client likes best, "" for none of ours (RFC 9530 section 4).

    What is malformed is ignored: the header is a wish.
    """
    if request.method not in {"GET", "HEAD"} or not (text := request.header(_HEADER)):
        return ""
    wishes = [_PREFERENCE.fullmatch(member.strip(" \t")) for member in text.split(",")]
    preferences = {wish[1]: int(wish[2]) for wish in wishes if wish}
    best = max(ALGORITHMS, key=lambda name: preferences.get(name, 0))
    return best if preferences.get(best, 0) > 0 else ""


def _as_get(request: Request) -> Request:
    """Return the GET whose file a HEAD is about: Range does not apply to HEAD (RFC 9110 14.2)."""
    if request.method == "GET":
        return request
    headers = {name: value for name, value in request.headers.items() if name != "range"}
    return request._replace(method="GET", headers=headers)
