"""Whether the preconditions of a request allow a change of what is there now (RFC 9110 13.2)."""

import os

from aserve.compression.encoded_file import without_codings
from aserve.filesystem.opened_file import validator_of
from aserve.handlers.handler import RequestContext
from aserve.http import preconditions
from aserve.http.messages import HttpError, Request
from aserve.http.preconditions import PreconditionResult


class Conditions:
    """The preconditions of one request. now: POSIX time in seconds."""

    def __init__(self, request: Request, context: RequestContext) -> None:
        self._request = request
        self._now = context.now

    def check(self, status: os.stat_result | None) -> None:
        """Raise HttpError 412 unless they hold for what has this status, None for nothing."""
        validator = validator_of(status) if status else None
        result = preconditions.evaluate(_about_files(self._request), validator, self._now)
        if result is not PreconditionResult.PROCEED:
            raise HttpError(412, "What is here does not match the preconditions of the request.")


def _about_files(request: Request) -> Request:
    """Return a request whose tags are those of files.

    A client may have got a file compressed. Its tag names a state of the file all the same, which
    is what a change depends on.
    """
    if "if-match" not in request.headers:
        return request
    tags = without_codings(request.headers["if-match"])
    return request._replace(headers={**request.headers, "if-match": tags})
