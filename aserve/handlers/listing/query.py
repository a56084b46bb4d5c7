"""What a request asks of a listing: the parameters of its query, and the form in Accept."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from aserve.filesystem.globs import name_pattern, path_pattern
from aserve.filesystem.natural_order import fold_case
from aserve.handlers.listing.limits import MAX_PAGE_SIZE
from aserve.handlers.listing.model import ListingQuery
from aserve.http.integers import parse_decimal
from aserve.http.messages import HttpError
from aserve.http.query import parse_parameters
from aserve.http.qvalues import parse_qvalues

_MAX_SEARCH = 1_000  # characters: a glob is compared with each name, and a name has 255 bytes

MEDIA_TYPES: Mapping[str, str] = {
    "html": "text/html",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "text": "text/plain",
}
"""The forms of a listing and their types, the preferred one first."""

_HTML = "html"

T = TypeVar("T")


class ListingRequest(NamedTuple):
    """A query, and the form that it names, if any."""

    query: ListingQuery
    form: str | None = None


def parse_query(text: str, page_size: int) -> ListingRequest:
    """Return what a query ("?...", or "") asks for. Of two equal parameters the last one counts.

    Unknown parameters are ignored, and so are empty values. Raises HttpError 400 for a bad value.
    """
    given = parameters(text)
    query = ListingQuery(
        sort=_choice(given, "sort", {"name": "name", "size": "size", "time": "time"}, "name"),
        order=_choice(given, "order", {"asc": "asc", "desc": "desc"}, "asc"),
        limit=_number(given, "limit", 1, MAX_PAGE_SIZE, page_size),
        offset=_number(given, "offset", 0, None, 0),
        search=_search(given.get("q", "")),
        is_deep=_choice(given, "deep", {"1": True, "0": False}, default=False),
    )
    forms = {name: name for name in MEDIA_TYPES}
    return ListingRequest(query, _choice(given, "format", forms, None))


def parameters(text: str) -> dict[str, str]:
    """Return the parameters of a query that have a value. Raises HttpError 400 for too many."""
    given = parse_parameters(text).items()
    return {name: filled[-1] for name, values in given if (filled := list(filter(None, values)))}


def _search(text: str) -> str:
    if len(text) > _MAX_SEARCH:
        raise HttpError(400, f"The parameter q must have at most {_MAX_SEARCH} characters.")
    return text


def _choice(given: Mapping[str, str], name: str, choices: Mapping[str, T], default: T) -> T:
    value = given.get(name)
    if value is None:
        return default
    if value not in choices:
        raise HttpError(400, f"The parameter {name} must be one of {', '.join(choices)}.")
    return choices[value]


def _number(given: Mapping[str, str], name: str, least: int, most: int | None, default: int) -> int:
    if name not in given:
        return default
    number = parse_decimal(given[name])
    if number is None or number < least or (most is not None and number > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise HttpError(400, f"The parameter {name} must be a number, {limits}.")
    return number


def negotiate_form(accept: str | None) -> str:
    """Return the form that an Accept header prefers; HTML where it accepts none of them.

    Of equal qualities the one counts that is named more exactly: clients that name JSON and add
    "*/*" want JSON.
    """
    if not accept:
        return _HTML
    accepted = parse_qvalues(accept)
    ranked = {form: _rank(media_type, accepted) for form, media_type in MEDIA_TYPES.items()}
    best = max(ranked, key=lambda form: ranked[form])  # of equals, the first one
    return best if ranked[best][0] > 0 else _HTML


def _rank(media_type: str, accepted: Mapping[str, float]) -> tuple[float, int]:
    """Return the quality of a type, and how exactly it is named (RFC 9110 section 12.5.1)."""
    names = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next(
        ((accepted[name], -index) for index, name in enumerate(names) if name in accepted),
        (0.0, -len(names)),
    )


def name_matcher(search: str) -> Callable[[bytes], bool]:
    """Return what tells whether a path matches a search, in any case of letters.

    With "*", "?" or "[" it is a glob for a whole name, otherwise a part of a name; with a slash it
    is compared with the whole path. Raises HttpError 400 for a glob that is none.
    """
    wanted = fold_case(search.encode(errors="surrogateescape")).decode(errors="surrogateescape")
    has_path = "/" in wanted
    matches = _text_matcher(wanted.strip("/") if has_path else wanted)
    if has_path:
        return lambda path: matches(fold_case(path))
    return lambda path: matches(fold_case(path.rpartition(b"/")[2]))


def _text_matcher(wanted: str) -> Callable[[bytes], bool]:
    if not re.search(r"[*?\[]", wanted):
        part = wanted.encode(errors="surrogateescape")
        return lambda path: part in path
    try:
        pattern = path_pattern(wanted) if "/" in wanted else name_pattern(wanted)
    except ValueError:
        raise HttpError(400, "The parameter q has a range that is none.") from None
    find = re.compile(pattern + rb"\Z").match
    return lambda path: find(path) is not None
