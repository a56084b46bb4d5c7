"""Headers that a site's owner sets, adds and removes, and what such a change must not touch.

Whatever a rule says, a response stays correct: where it ends, what it is a part of, what it varies
by and what keeps it apart from other sites is not for rules to decide.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from aserve.http.messages import Header, Headers, Request, Response

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_SENT_VALUE = re.compile(r"[\t -~\x80-\xff]*")

_FRAMING = "the server makes it, since it says where a response ends"
_VALIDATOR = "the server makes it, since it compares it with what clients send"
_UNCHANGEABLE: Mapping[str, str] = {
    **dict.fromkeys(
        ("connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer"),
        _FRAMING,
    ),
    **dict.fromkeys(("transfer-encoding", "upgrade", "content-range"), _FRAMING),
    "date": "the server makes it, with each response",
    "allow": "the server makes it, since it knows the methods",
    "status": "it is no header of HTTP",
}
"""Names that no rule may set or remove, and why."""

_KNOWN_TO_HANDLERS = frozenset({"allow", "content-range"})

_MADE_BY_SERVER: Mapping[str, str] = {
    "etag": f"{_VALIDATOR}; see the setting etag",
    "last-modified": _VALIDATOR,
    "accept-ranges": "the server makes it, since it sends the ranges",
    "location": "it belongs to a redirect",
}
"""Names that no rule may set, besides those above."""

_NEEDED: Mapping[str, str] = {
    "vary": "without it, caches send a response to clients that it is not for",
    "content-encoding": "without it, clients do not decode the file",
    "location": "a redirect needs it",
}
"""Names that no rule may remove, besides those above."""

_CACHING = frozenset(
    {"cache-control", "expires", "cdn-cache-control", "surrogate-control", "pragma"}
)
_OF_CONTENT = frozenset(
    {
        *("content-type", "content-disposition", "content-encoding", "content-language"),
        *("content-location", "content-digest", "repr-digest", "link"),
    }
)
_OF_HANDLERS = frozenset(
    {
        *("access-control-allow-headers", "access-control-allow-methods", "accept-patch"),
        *("access-control-allow-origin", "access-control-expose-headers", "access-control-max-age"),
        *("content-security-policy", "referrer-policy", "retry-after"),
        *(
            "search-complete",
            "server",
            "strict-transport-security",
            "tus-checksum-algorithm",
            "tus-extension",
            "tus-max-size",
        ),
        *("tus-resumable", "tus-version", "upload-defer-length", "upload-expires", "upload-length"),
        *("upload-metadata", "upload-offset", "vary", "www-authenticate", "x-accel-buffering"),
        *("x-content-type-options", "x-total-count"),
    }
)
"""Names, besides those above, that our own handlers give to some responses."""

_STORED_LESS = re.compile(r"(?:^|[ ,])no-(?:store|cache)\b", re.IGNORECASE)


class HeaderChange(NamedTuple):
    """What a rule does to the headers of a response.

    set: lines that replace all of the same names. append: values that are added to the list that
    is there, as lines of their own for Set-Cookie. unset: names that are removed, before any is
    set. source: where the rule is written, as "_headers:3", for users.
    """

    set: Headers = ()
    append: Headers = ()
    unset: tuple[str, ...] = ()
    source: str = ""


FindChanges = Callable[[bytes], Sequence[HeaderChange]]
"""Returns the changes for a decoded path, in the order in which they are made.

The path begins with a slash, and ends with one if the target does. An invalid target has b"".
"""


def set_error(name: str, value: str) -> str:
    """Return why a rule may not set or append a header, "" if it may."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if reason := _UNCHANGEABLE.get(name.lower()) or _MADE_BY_SERVER.get(name.lower()):
        return f"{name} cannot be set: {reason}"
    if not _VALUE.fullmatch(value):
        return f"the value of {name} has a control character, or one beyond ASCII: {value!r}"
    return ""


def unset_error(name: str) -> str:
    """Return why a rule may not remove a header, "" if it may."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if reason := _UNCHANGEABLE.get(name.lower()) or _NEEDED.get(name.lower()):
        return f"{name} cannot be removed: {reason}"
    return ""


def sent_error(name: str, value: str) -> str:
    """Return why the handler of a program may not send a header, "" if it may.

    It knows its methods and ranges, and may send bytes beyond ASCII, which mean nothing to HTTP
    (RFC 9110 section 5.5).
    """
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if name.lower() not in _KNOWN_TO_HANDLERS and (reason := _UNCHANGEABLE.get(name.lower())):
        return f"{name} cannot be sent: {reason}"
    if not _SENT_VALUE.fullmatch(value):
        return f"the value of {name} has a character that no header may have: {value!r}"
    return ""


def names_of(change: HeaderChange) -> frozenset[str]:
    """Return the names of all headers of a change, in lower case."""
    lines = (*change.set, *change.append)
    return frozenset(name.lower() for name in (*(name for name, _ in lines), *change.unset))


def without_names(change: HeaderChange, names: Collection[str]) -> HeaderChange:
    """Return a change that leaves headers alone. names: in lower case."""
    if names_of(change).isdisjoint(names):
        return change
    unset = tuple(name for name in change.unset if name.lower() not in names)
    lines, appended = _others(change.set, names), _others(change.append, names)
    return HeaderChange(lines, appended, unset, change.source)


def _others(lines: Headers, names: Collection[str]) -> Headers:
    return tuple(line for line in lines if line[0].lower() not in names)


def is_always_added(name: str) -> bool:
    """Tell whether a header that is set is added to every response, and replaces none.

    name: in lower case.
    """
    return name not in _CACHING | _OF_CONTENT | _OF_HANDLERS


def change_error(change: HeaderChange) -> str:
    """Return why a change cannot be made, "" if it can."""
    errors = [set_error(*line) for line in (*change.set, *change.append)]
    return next(filter(None, (*errors, *map(unset_error, change.unset))), "")


def change_headers(
    request: Request, response: Response, changes: Iterable[HeaderChange]
) -> Response:
    """Return a response with other headers; the changes are made in their order.

    Headers about the content are those of files: errors, redirects and what other methods return
    keep their own. So it is with caching, but for rules by which less is stored: an error or a
    redirect that is cached would outlive its cause.
    """
    lines = _Lines(response.headers)
    for change in changes:
        lines.make(change)
    is_of_file = request.method in {"GET", "HEAD"} and response.status in {200, 206, 304}
    return response.with_headers(lines.result(response.status, is_of_file=is_of_file))


class _Lines:
    """The lines of a response: its own, and what changes make of them."""

    def __init__(self, own: Headers) -> None:
        self._own = own
        self._own_names = {name.lower() for name, _ in own}
        self._changed: dict[str, list[Header]] = {}  # by names in lower case

    def make(self, change: HeaderChange) -> None:
        """Make one change."""
        for name in change.unset:
            self._changed[name.lower()] = []
        replaced: dict[str, list[Header]] = {}
        for line in change.set:
            replaced.setdefault(line[0].lower(), []).append(line)
        self._changed.update(replaced)
        for name, value in change.append:
            self._append(name, value)

    def _append(self, name: str, value: str) -> None:
        key = name.lower()
        lines = self._changed.get(key)
        if lines is None:
            lines = [] if key in _JOINED else [one for one in self._own if one[0].lower() == key]
        if lines and key != "set-cookie":
            value = ", ".join([*(one[1] for one in lines), value])
            lines = []
        self._changed[key] = [*lines, (name, value)]

    def result(self, status: int, *, is_of_file: bool) -> Headers:
        """Return the lines of a response with a status."""
        changed = {
            key: lines
            for key, lines in self._changed.items()
            if self._applies(key, lines, status, is_of_file=is_of_file)
        }
        kept = [
            one for one in self._own if (key := one[0].lower()) in _JOINED or key not in changed
        ]
        added = [line for key, lines in changed.items() for line in lines if key != "vary"]
        if vary := changed.get("vary"):
            kept = _with_vary(kept, vary)
        return (*kept, *added)

    def _applies(self, key: str, lines: list[Header], status: int, *, is_of_file: bool) -> bool:
        """Tell whether a header of a response may be changed in this way."""
        if key in _OWN_FIRST and key in self._own_names:
            return False
        if key in _OF_CONTENT:
            return is_of_file and status != 304 and not (key == "content-type" and self._is_parts())
        if key in _CACHING:
            return self._may_be_cached(lines, is_of_file=is_of_file)
        return True

    def _is_parts(self) -> bool:
        """Tell whether the body is several ranges, whose type says how they are separated."""
        return any(value.startswith("multipart/") for _, value in self._own)

    def _may_be_cached(self, lines: list[Header], *, is_of_file: bool) -> bool:
        """Tell whether a response may be stored as these lines say, or all may be stored less."""
        if ("Cache-Control", "no-store") in self._own:
            return any("no-store" in value.lower() for _, value in lines)
        return is_of_file or any(_STORED_LESS.search(value) for _, value in lines)


_OWN_FIRST = frozenset({"x-content-type-options", "content-encoding", "referrer-policy"})
"""Names whose own lines stay, alone: a name in a listing could become a script otherwise, a file
that is compressed could not be decoded, and with no-referrer browsers do not say that the form of
an upload page comes from here: its Origin is null (Fetch 3.1)."""
_JOINED = frozenset({"content-security-policy", "vary"})
"""Names whose own lines stay: browsers enforce each policy, and caches look at all of Vary."""


def _with_vary(lines: list[Header], added: list[Header]) -> list[Header]:
    """Return the lines with one Vary, which names each header once."""
    values = [value for name, value in (*lines, *added) if name.lower() == "vary"]
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    unique: dict[str, str] = {}
    for name in names:
        unique.setdefault(name.lower(), name)
    vary = ("Vary", ", ".join(unique.values()))
    return [*(one for one in lines if one[0].lower() != "vary"), vary]
