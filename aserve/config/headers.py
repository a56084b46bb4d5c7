"""The settings about headers: rules by path, caching, pages of other sites, entity tags."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from aserve.config.checks import Errors, choice_errors, value_name
from aserve.config.names import ItemError
from aserve.handlers.handler import Handler
from aserve.http.header_changes import HeaderChange
from aserve.http.origins import Origins
from aserve.http.path_globs import GlobError, compile_glob
from aserve.policies.header_rules import HeaderRule

if TYPE_CHECKING:
    from aserve.config.settings import Settings

HeaderTable = Mapping[str, Mapping[str, str]]
"""Headers by globs of paths."""

CACHE = ("auto", "no-cache", "no-store")
"""What Cache-Control can be, besides a number of seconds."""
ETAGS = ("stat", "content", "off")
"""What entity tags are made of."""

_MAX_AGE = 2**31 - 1  # seconds (RFC 9111 section 1.2.2)
_FORM = "must be PATH NAME: VALUE, as in '/docs/* X-Frame-Options: DENY', not"


class _Line(NamedTuple):
    glob: str
    name: str
    value: str
    place: str


def header_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the settings about headers."""
    try:
        parse_header_rules(settings.headers)
    except ItemError as error:
        yield value_name(settings, "headers", error.index), str(error)
    for setting, reason in (
        ("cache", _cache_error(settings.cache)),
        ("cors", _reason(Origins, settings.cors)),
        ("handlers", _handlers_error(settings.handlers or {})),
    ):
        if reason:
            yield setting, reason
    yield from choice_errors("etag", settings.etag, ETAGS)
    if settings.etag == "content" and settings.write:
        yield "etag", "content is for files that only the server's owner changes, not for write"


def parse_header_rules(
    headers: Sequence[str] | HeaderTable, place_of: Callable[[int], str] = str
) -> list[HeaderRule]:
    """Return the rules of the setting headers. Raises ItemError, whose text is the reason.

    Lines for the same path, one after another, are one rule: two lines of one name are both sent.
    Without a value, a header is removed, as curl has it. place_of: returns where the n-th line is
    written, counted from 0.
    """
    is_table = isinstance(headers, Mapping)
    lines: list[_Line] = []
    try:
        for text in _lines_of_table(headers) if is_table else map(_parse_line, headers):
            line = _Line(*text, place_of(len(lines)))
            if reason := _rule(line.glob, [line]).error():
                raise ValueError(reason)
            lines.append(line)
    except ValueError as error:
        raise ItemError(len(lines), str(error)) from None
    return [_rule(glob, list(group)) for glob, group in groupby(lines, attrgetter("glob"))]


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


def _rule(glob: str, lines: Sequence[_Line]) -> HeaderRule:
    values = tuple((line.name, line.value) for line in lines if line.value)
    removed = tuple(line.name for line in lines if not line.value)
    place = ", ".join(dict.fromkeys(line.place for line in lines))
    return HeaderRule(glob, HeaderChange(set=values, unset=removed, source=place))


def _cache_error(value: str | int) -> str:
    """Return what is wrong with the setting cache."""
    if value in CACHE or (isinstance(value, int) and 0 <= value <= _MAX_AGE):
        return ""
    return f"must be one of {', '.join(CACHE)}, or seconds from 0 to {_MAX_AGE}, not {value!r}"


def parse_cache(text: str) -> str | int:
    """Return the value of an option: seconds as a number."""
    return int(text) if text.isascii() and text.isdecimal() else text


def _handlers_error(handlers: Mapping[str, Handler]) -> str:
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
