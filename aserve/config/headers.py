"""The settings about headers: rules by path, caching, pages of other sites, entity tags."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from aserve.handlers.handler import Handler
from aserve.http.header_changes import HeaderChange
from aserve.http.origins import Origins
from aserve.http.path_globs import GlobError, compile_glob
from aserve.policies.header_rules import HeaderRule

HeaderTable = Mapping[str, Mapping[str, str]]
"""Headers by globs of paths."""

CACHE = ("auto", "no-cache", "no-store")
"""What Cache-Control can be, besides a number of seconds."""
ETAGS = ("stat", "content", "off")
"""What entity tags are made of."""

_MAX_AGE = 2**31 - 1  # seconds (RFC 9111 section 1.2.2)
_FORM = "must be PATH NAME: VALUE, as in '/docs/* X-Frame-Options: DENY', not"


def parse_header_rules(headers: Sequence[str] | HeaderTable) -> list[HeaderRule]:
    """Return the rules of the setting headers. Raises ValueError, whose text is the reason.

    Lines for the same path, one after another, are one rule: two lines of one name are both sent.
    Without a value, a header is removed, as curl has it.
    """
    is_table = isinstance(headers, Mapping)
    lines = list(_lines_of_table(headers) if is_table else map(_parse_line, headers))
    rules = [
        _rule(glob, [line[1:] for line in group]) for glob, group in groupby(lines, itemgetter(0))
    ]
    if reason := next(filter(None, (rule.error() for rule in rules)), ""):
        raise ValueError(reason)
    return rules


def _lines_of_table(table: Any) -> Iterator[tuple[str, str, str]]:
    for glob, headers in table.items():
        is_table = isinstance(glob, str) and isinstance(headers, Mapping)
        if not is_table:
            raise ValueError(f"must have a mapping of headers for each path, not {headers!r}")
        for name, value in headers.items():
            is_text = isinstance(name, str) and isinstance(value, str)
            if not is_text:
                raise ValueError(f"must have a string for each header of {glob}, not {value!r}")
            yield glob, name, value.strip(" \t")


def _parse_line(text: str) -> tuple[str, str, str]:
    glob, _, header = text.strip().partition(" ")
    name, colon, value = header.strip(" \t").partition(":")
    if not colon or not name:
        raise ValueError(f"{_FORM} {text!r}")
    return glob, name, value.strip(" \t")


def _rule(glob: str, lines: Sequence[tuple[str, str]]) -> HeaderRule:
    values = tuple((name, value) for name, value in lines if value)
    removed = tuple(name for name, value in lines if not value)
    return HeaderRule(glob, HeaderChange(set=values, unset=removed, source="headers"))


def header_rules_error(headers: Sequence[str] | HeaderTable) -> str:
    """Return what is wrong with the setting headers, "" if nothing is."""
    return _reason(parse_header_rules, headers)


def cache_error(value: str | int) -> str:
    """Return what is wrong with the setting cache."""
    if value in CACHE or (isinstance(value, int) and 0 <= value <= _MAX_AGE):
        return ""
    return f"must be one of {', '.join(CACHE)}, or seconds from 0 to {_MAX_AGE}, not {value!r}"


def parse_cache(text: str) -> str | int:
    """Return the value of an option: seconds as a number."""
    return int(text) if text.isascii() and text.isdecimal() else text


def cors_error(origins: Sequence[str]) -> str:
    """Return what is wrong with the setting cors."""
    return _reason(Origins, origins)


def handlers_error(handlers: Mapping[str, Handler]) -> str:
    """Return what is wrong with the setting handlers."""
    for glob, handler in handlers.items():
        try:
            compile_glob(glob)
        except (GlobError, AttributeError):
            return f"must have paths such as /now, not {glob!r}"
        if not callable(getattr(handler, "handle", None)):
            return f"must have an object with a method handle for {glob}, not {handler!r}"
    return ""


def _reason(check: Callable[[Any], object], value: object) -> str:
    try:
        check(value)
    except ValueError as error:
        return str(error)
    return ""
