"""Whether the preconditions of a request allow a change of what is there now (RFC 9110 13.2)."""

import os

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
        result = preconditions.evaluate(self._request, validator, self._now)
        if result is not PreconditionResult.PROCEED:
            raise HttpError(412, "What is here does not match the preconditions of the request.")
