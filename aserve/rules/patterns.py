"""Paths of rules: what a pattern matches, and what its placeholders stand for.

Patterns and the paths of requests are compared in one form, in which every byte that needs a
percent escape has one, and no other. So no escape leads around a rule, and what a placeholder
stands for can be put into a URL as it is.

Clients choose the paths: two wildcards that can share their characters in any way would take
seconds for a path of 8,000. So of several, only the last one is ever tried again: what is between
two of them is looked for once, where it comes first, in an atomic group.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

SPLAT = "splat"
"""The name of what * stands for."""

CANONICAL = r"(?:/[\w~-][\w.~-]*)+/?"
"""What most paths match, all of which are in the form in which paths are compared (ASCII)."""

_CANONICAL = re.compile(CANONICAL, re.ASCII)
_PLAIN_NAME = re.compile(r"[\w.~-]+", re.ASCII)
_SAFE = "!$&'()*+,;=:@"  # of RFC 3986 pchar; quote() adds the unreserved ones

_WILDCARD = re.compile(r"(\*|:[A-Za-z]\w*)", re.ASCII)


_AFTER_STAR = re.compile(r"\*[^/]*?:[A-Za-z]", re.ASCII)


class Landmark(NamedTuple):
    """A segment that all paths of a pattern have. place: from 0, or from -1 at the end."""

    place: int
    segment: str


class PathPattern(NamedTuple):
    """A pattern of paths.

    prefix: the whole segments before the first wildcard, or all of the path if there is none.
    regex: what a whole path matches, "" without a wildcard. names: of the groups in it. landmark: a
    segment behind the first wildcard, None where no place of one is fixed.
    """

    prefix: str
    regex: str = ""
    names: tuple[str, ...] = ()
    landmark: Landmark | None = None


ParsePath = Callable[[str], PathPattern]
"""Returns the pattern of a path as a dialect writes it. Raises ValueError."""


def is_canonical(path: str) -> bool:
    """Tell whether a path is in the form in which paths are compared, as most paths are."""
    return _CANONICAL.fullmatch(path) is not None


def canonical_path(path: str) -> str:
    """Return a path without its query in the form in which paths are compared.

    Runs of slashes count as one, as they do for files.
    """
    if _CANONICAL.fullmatch(path):
        return path
    names = [_canonical(name) for name in path.split("/") if name]
    return "/" + "/".join(names) + ("/" if names and path.endswith("/") else "")


class _Wildcard(NamedTuple):
    """A part of a pattern that stands for something.

    regex: its expression, with one group. first: the same for what comes first, "" for one that
    ends at a slash and so stands for one thing only. is_segments: whether it is whole segments.
    """

    name: str
    regex: str
    first: str = ""
    is_segments: bool = False


_CHARACTERS = _Wildcard(SPLAT, "(.*)", "(.*?)")
_SEGMENTS = _Wildcard(SPLAT, "(?:/(.*))?", "(?:/(.*?))??", is_segments=True)

_Part = str | _Wildcard
"""Literal characters, in the form in which paths are compared, or a wildcard."""


def parse_redirect_path(path: str) -> PathPattern:
    """Return the pattern of a path in Netlify's _redirects: of paths with or without a slash.

    ":name" is a segment, "*" any number of them, and "*" at the end of the last one the rest.
    """
    if "*" not in path and ":" not in path:  # as most of a long file
        return PathPattern(canonical_path(path).rstrip("/"))
    if pattern := _pattern_below(path):
        return pattern
    segments = _split(path)
    parts = [part for segment in segments for part in _segment_parts(segment)]
    if parts and isinstance(last := parts[-1], str) and last.endswith("*"):
        parts[-1:] = [last[:-1], _CHARACTERS]
    return _pattern(parts, optional_slash=True)._replace(landmark=_find_landmark(segments))


def parse_header_path(path: str) -> PathPattern:
    """Return the pattern of a path in Netlify's _headers: "*" may also be within a segment."""
    if pattern := _pattern_below(path):
        return pattern
    parts: list[_Part] = []
    segments = _split(path)
    for segment in segments:
        for part in _segment_parts(segment):
            literals = part.split("*") if isinstance(part, str) else []
            parts += _between(literals, _CHARACTERS) if literals else [part]
    return _pattern(parts, optional_slash=True)._replace(landmark=_find_landmark(segments))


def _pattern_below(path: str) -> PathPattern | None:
    """Return the pattern of a path with "/*" at its end and nothing else, as most wildcards are.

    It is what the other functions return, in a fifth of the time.
    """
    prefix = path.removesuffix("/*")
    if prefix == path or not _CANONICAL.fullmatch(prefix) or prefix[-1] == "/":
        return None
    return PathPattern(prefix, re.escape(prefix) + _SEGMENTS.regex, (SPLAT,))


def parse_exact_path(path: str) -> PathPattern:
    """Return the pattern of a path as Cloudflare reads it: with a slash only where it has one.

    "*" is any characters, ":name" any but a slash. Raises ValueError for a name that occurs twice,
    and for one behind a "*" in its segment: for each end of the first, the second would be tried.
    """
    if _AFTER_STAR.search(path):
        raise ValueError("no :name may follow * before a slash")
    parts = _exact_parts(path)
    names = [part.name for part in parts if isinstance(part, _Wildcard)]
    if len(set(names)) < len(names):
        raise ValueError("* and each :name may occur once")
    return _pattern(parts)


def _split(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _segment_parts(segment: str) -> Sequence[_Part]:
    if segment == "*":
        return (_SEGMENTS,)
    if segment[0] == ":" and len(segment) > 1:
        return "/", _Wildcard(segment[1:], "([^/]++)")
    return ("/" + _canonical(segment),)


def _find_landmark(segments: Sequence[str]) -> Landmark | None:
    """Return the first segment behind a wildcard whose place is fixed, from the start or the end.

    A star is any number of segments, so none behind it has a fixed place from the start.
    """
    kinds = [_kind(segment) for segment in segments]
    first = next((at for at, kind in enumerate(kinds) if kind), len(kinds))
    end = kinds.index("*") if "*" in kinds else len(kinds)
    places = [*range(first + 1, end), *range(-1, first - len(kinds), -1)]
    for at in places:
        if kinds[at] == "*":
            return None
        if not kinds[at]:
            return Landmark(at, _canonical(segments[at]))
    return None


def _kind(segment: str) -> str:
    """Return "*" for a segment with a star, ":" for a placeholder, "" for any other."""
    if "*" in segment:
        return "*"
    return ":" if segment[0] == ":" and len(segment) > 1 else ""


def _between(literals: Sequence[str], part: _Part) -> Iterable[_Part]:
    """Return literals with a part between each two of them."""
    yield literals[0]
    for literal in literals[1:]:
        yield part
        yield literal


def _exact_parts(path: str) -> list[_Part]:
    first, *others = _WILDCARD.split(path)
    parts: list[_Part] = [_canonical_text(first)]
    for position in range(0, len(others), 2):
        wildcard, literal = others[position], _canonical_text(others[position + 1])
        is_last = position + 2 == len(others)
        if wildcard == "*":
            parts += [_CHARACTERS, literal]
        elif is_last or "/" in literal:
            parts += [_Wildcard(wildcard[1:], "([^/]+)"), literal]
        else:  # another one in the same segment
            parts.append(_Wildcard(wildcard[1:], f"(?>([^/]+?){re.escape(literal)})"))
    return parts


def _canonical_text(text: str) -> str:
    return re.sub("/+", "/", "/".join(map(_canonical, text.split("/"))))


def _canonical(text: str) -> str:
    """Return a text without slashes in the form in which paths are compared."""
    if _PLAIN_NAME.fullmatch(text):  # a long file has many, and takes 0.1 s less
        return text
    return quote(unquote_to_bytes(text), safe=_SAFE)


def _pattern(parts: Sequence[_Part], *, optional_slash: bool = False) -> PathPattern:
    """Return the pattern of some parts. optional_slash: whether any path may end in a slash."""
    prefix = "".join(takewhile(lambda part: isinstance(part, str), parts))  # type: ignore[arg-type]
    wildcards = [part for part in parts if isinstance(part, _Wildcard)]
    if not wildcards:
        return PathPattern(prefix.rstrip("/") if optional_slash else prefix)
    if not wildcards[0].is_segments:
        prefix = prefix.rpartition("/")[0]
    ends_open = isinstance(parts[-1], _Wildcard) and bool(parts[-1].first)
    regex = _regex(parts) + ("/?" if optional_slash and not ends_open else "")
    return PathPattern(prefix, regex, tuple(part.name for part in wildcards))


def _regex(parts: Sequence[_Part]) -> str:
    """Return the expression of all parts."""
    stars = [part for part in parts if isinstance(part, _Wildcard) and part.first]
    regex, is_open = "", False
    for part in parts:
        if isinstance(part, str):
            regex += re.escape(part)
        elif not part.first:
            regex += part.regex
        else:
            stars.pop(0)
            if is_open:
                regex += r"(?=/|\Z))" if part.is_segments else ")"  # where its segment ends
            is_open = bool(stars)
            regex += "(?>" + part.first if is_open else part.regex
    return regex
