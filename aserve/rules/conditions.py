"""Whether a request has what a rule asks for besides the path: host, query, language, cookie."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from aserve.http.host_names import normal_host, request_authority
from aserve.http.messages import Request
from aserve.http.query import parse_parameters
from aserve.http.qvalues import parse_qvalues
from aserve.rules.redirects_file import Conditions

_LANGUAGE_COOKIE = "nf_lang"
"""Netlify's cookie of the language that a visitor has chosen."""

_NO_VALUES: Mapping[str, str] = {}


def fulfil(conditions: Conditions, request: Request, query: str) -> Mapping[str, str] | None:
    """Return what the placeholders of a query stand for; None if a condition is not fulfilled.

    query: with its "?", or "". Raises HttpError for a query that is too long.
    """
    host, query_conditions, languages, cookies = conditions
    if host and requested_host(request) != host:
        return None
    if languages and not _prefers_one_of(languages, request):
        return None
    if cookies and cookies.isdisjoint(_cookies(request)):
        return None
    return _match_query(query_conditions, query) if query_conditions else _NO_VALUES


def varies(conditions: Conditions) -> bool:
    """Tell whether anything but the target decides, which a cached response is found by."""
    return bool(conditions.host or conditions.languages or conditions.cookies)


def vary_names(conditions: Conditions) -> tuple[str, ...]:
    """Return the names of the headers that decide, but for Host."""
    languages = ("Accept-Language",) if conditions.languages else ()
    return (*languages, "Cookie") if conditions.languages or conditions.cookies else ()


def requested_host(request: Request) -> str:
    """Return the host that a request is for, in its normal form; "" for none."""
    return normal_host(request_authority(request))


@lru_cache(maxsize=1)
def _parameters(query: str) -> Mapping[str, Sequence[str]]:
    """Return the parameters of a query, of which every rule for one path looks at some."""
    return parse_parameters(query)


def _match_query(conditions: tuple[tuple[str, str], ...], query: str) -> Mapping[str, str] | None:
    """Return the values of placeholders in the form that a path has."""
    given = _parameters(query)
    values: dict[str, str] = {}
    for name, expected in conditions:
        found = given.get(name, ())
        if len(found) != 1:
            return None
        if expected.startswith(":"):
            values[expected[1:]] = quote(os.fsencode(found[0]), safe="")
        elif found[0] != expected:
            return None
    return values


def _prefers_one_of(languages: frozenset[str], request: Request) -> bool:
    preferred = _cookies(request).get(_LANGUAGE_COOKIE, "").lower()
    if not preferred:
        accepted = parse_qvalues(request.header("accept-language") or "")
        preferred = max(accepted, key=lambda name: accepted[name], default="")
    return preferred in languages or preferred.partition("-")[0] in languages


def _cookies(request: Request) -> Mapping[str, str]:
    """Return the cookies of a request that have a value (RFC 6265 section 4.2.1)."""
    pairs = (
        part.strip(" \t").partition("=") for part in (request.header("cookie") or "").split(";")
    )
    return {name: value for name, _, value in pairs if value}
