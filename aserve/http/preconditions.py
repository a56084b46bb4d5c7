"""Conditional requests: evaluation of the preconditions (RFC 9110 section 13)."""

import enum
import re

from aserve.http.dates import parse_date
from aserve.http.messages import Request
from aserve.http.resources import Validator

_ENTITY_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

PRECONDITIONS = frozenset({"if-match", "if-unmodified-since", "if-none-match", "if-modified-since"})

SAFE_METHODS = frozenset({"GET", "HEAD"})


class PreconditionResult(enum.Enum):
    """The outcome of the preconditions."""

    PROCEED = enum.auto()
    NOT_MODIFIED = enum.auto()
    FAILED = enum.auto()


def evaluate(request: Request, validator: Validator | None, now: int) -> PreconditionResult:
    """Evaluate a request's preconditions in the order of RFC 9110 section 13.2.2.

    validator: None where nothing is there yet.
    """
    if PRECONDITIONS.isdisjoint(request.headers):
        return PreconditionResult.PROCEED
    if validator is None:  # only If-Match asks for something that is there (section 13.1.1)
        is_missed = "if-match" in request.headers
        return PreconditionResult.FAILED if is_missed else PreconditionResult.PROCEED
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
    """Evaluate steps 1 and 2: If-Match, or else If-Unmodified-Since."""
    if "if-match" in request.headers:
        return _any_match(request.headers["if-match"], validator, weak=False)
    date = _header_date(request, "if-unmodified-since", now)
    modified = validator.last_modified(now)
    # Without a date to compare with, the header MUST be ignored (section 13.1.4).
    return date is None or modified is None or modified <= date


def _matches_known_state(request: Request, validator: Validator, now: int) -> bool:
    """Evaluate steps 3 and 4: If-None-Match, or else If-Modified-Since."""
    if "if-none-match" in request.headers:
        return _any_match(request.headers["if-none-match"], validator, weak=True)
    # Section 13.1.3: If-Modified-Since applies only to these.
    if request.method not in SAFE_METHODS:
        return False
    date = _header_date(request, "if-modified-since", now)
    modified = validator.last_modified(now)
    return date is not None and modified is not None and modified <= date


def range_applies(request: Request, validator: Validator, now: int) -> bool:
    """Tell whether Range applies: there is no If-Range, or it matches (section 13.1.5).

    The comparison is strong. A weak tag never matches, and a date matches only if it lies at least
    one second in the past, since two states may share a second (section 8.8.2.2).
    """
    condition = request.headers.get("if-range")
    if condition is None:
        return True
    if '"' in condition:
        return condition == validator.etag
    date, modified = parse_date(condition, now), validator.last_modified(now)
    return modified is not None and date == modified < now


def has_tag(tags: str, tag: str, *, weak: bool) -> bool:
    """Tell whether a list of entity tags has one, which is a strong one (section 8.8.3.2).

    weak: whether the weak form of it counts.
    """
    if tag not in tags:  # a fast path: splitting 10,000 tags takes 3 ms
        return False
    each = _ENTITY_TAG.findall(tags)
    return tag in each or (weak and f"W/{tag}" in each)


def _any_match(condition: str, validator: Validator, *, weak: bool) -> bool:
    return condition == "*" or has_tag(condition, validator.etag, weak=weak)


def _header_date(request: Request, name: str, now: int) -> int | None:
    """Return the date in a header; None if it is missing or invalid, and so to be ignored."""
    text = request.headers.get(name)
    return None if text is None else parse_date(text, now)
