"""Conditional requests: what the preconditions make of a request (RFC 9110 section 13)."""

import enum
import re

from aserve.http.dates import parse_date
from aserve.http.messages import Request
from aserve.http.resources import Validator

_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

_PRECONDITIONS = frozenset(
    {"if-match", "if-unmodified-since", "if-none-match", "if-modified-since"}
)

SAFE_METHODS = frozenset({"GET", "HEAD"})


class PreconditionResult(enum.Enum):
    """What the preconditions decide."""

    PROCEED = enum.auto()
    NOT_MODIFIED = enum.auto()
    FAILED = enum.auto()


def evaluate(request: Request, validator: Validator, now: int) -> PreconditionResult:
    """Weigh a request's preconditions in the order of RFC 9110 section 13.2.2."""
    if _PRECONDITIONS.isdisjoint(request.headers):
        return PreconditionResult.PROCEED
    if not _matches_expected_state(request, validator, now):
        return PreconditionResult.FAILED
    if not _matches_known_state(request, validator, now):
        return PreconditionResult.PROCEED
    return (
        PreconditionResult.NOT_MODIFIED
        if request.method in SAFE_METHODS
        else PreconditionResult.FAILED
    )


def _matches_expected_state(request: Request, validator: Validator, now: int) -> bool:
    """Take steps 1 and 2: the state the client wants to act on; a tag outweighs a date."""
    if "if-match" in request.headers:
        return _any_match(request.headers["if-match"], validator, weakly=False)
    moment, modified = _date(request, "if-unmodified-since", now), validator.last_modified(now)
    # Without a date to compare with, the field MUST be ignored (section 13.1.4).
    return moment is None or modified is None or modified <= moment


def _matches_known_state(request: Request, validator: Validator, now: int) -> bool:
    """Take steps 3 and 4: a state the client has already; a tag outweighs a date."""
    if "if-none-match" in request.headers:
        return _any_match(request.headers["if-none-match"], validator, weakly=True)
    if request.method not in SAFE_METHODS:  # section 13.1.3: If-Modified-Since is for these alone
        return False
    moment, modified = _date(request, "if-modified-since", now), validator.last_modified(now)
    return moment is not None and modified is not None and modified <= moment


def range_applies(request: Request, validator: Validator, now: int) -> bool:
    """Tell whether If-Range, where there is one, lets Range be honoured (section 13.1.5).

    The comparison is strong: a weak tag never matches, and a date only when the file had been
    still for a second before it was sent, since two states may share a second (section 8.8.2.2).
    """
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    if '"' in condition:
        return condition == validator.etag
    moment, modified = parse_date(condition, now), validator.last_modified(now)
    return modified is not None and moment == modified < now


def _any_match(condition: str, validator: Validator, *, weakly: bool) -> bool:
    """Compare a tag list with our tag, which is always strong (section 8.8.3.2)."""
    if condition == "*":
        return True
    if validator.etag not in condition:  # nor is it one of 10,000 tags, which would take 3 ms
        return False
    tags = _ENTITY_TAG.findall(condition)
    return validator.etag in tags or (weakly and f"W/{validator.etag}" in tags)


def _date(request: Request, name: str, now: int) -> int | None:
    """Return the date of a field; None where it is missing or no date, which is to be ignored."""
    text = request.headers.get(name)
    return None if text is None else parse_date(text, now)
