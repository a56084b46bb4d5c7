"""What a PROPFIND asks for: the XML of its body (RFC 4918 sections 9.1 and 14.20)."""

import codecs
from collections.abc import Mapping
from typing import Literal, NamedTuple
from xml.parsers import expat

from aserve.http.messages import HttpError

DAV = "DAV:"
"""The namespace of what RFC 4918 defines."""

MAX_NAMES = 200
"""The most properties that may be asked for: each is in the response of each resource."""

Name = tuple[str, str]
"""Of an element: its namespace, "" for none, and its local name."""

_BAD_BODY = "The body must be a propfind element of DAV: with one of allprop, propname and prop."
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class PropertyQuery(NamedTuple):
    """What is asked of each resource.

    kind: all properties, their names without values, or those that are named. names: these, and
    with all, what is wanted besides; in order, each once.
    """

    kind: Literal["allprop", "propname", "prop"] = "allprop"
    names: tuple[Name, ...] = ()


def parse_query(body: bytes) -> PropertyQuery:
    """Return what a body asks for: all properties if it is empty. Raises HttpError 400.

    A document type is rejected before the parser sees it, and with it every entity: nothing expands
    and nothing is fetched.
    """
    if not body:
        return PropertyQuery()
    text = _decode(body)
    if "<!DOCTYPE" in text:
        raise HttpError(400, "The body must not have a document type.")
    builder = _Builder()
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError:
        raise HttpError(400, "The body is not well-formed XML with namespaces.") from None
    return builder.query()


def _decode(body: bytes) -> str:
    """Return a document as text. Every client sends UTF-8; XML has UTF-16 as well (section 4.3.3).

    What the declaration says is not needed: UTF-16 begins with a byte order mark.
    """
    try:
        return body.decode("utf-16" if body.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise HttpError(400, "The body must be XML in UTF-8 or UTF-16.") from None


class _Builder:
    """Follows the elements of a document. What is not known is passed over (section 17)."""

    def __init__(self) -> None:
        self._depth = 0
        self._parts: dict[str, dict[Name, None]] = {}
        self._part: dict[Name, None] = {}  # the names in the element that is open

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        """Enter an element."""
        namespace, _, local = tag.rpartition(" ")
        if self._depth == 0 and (namespace, local) != (DAV, "propfind"):
            raise HttpError(400, _BAD_BODY)
        if self._depth == 1:
            self._part = {}
            if namespace == DAV:
                self._begin_part(local)
        elif self._depth == 2:
            self._part[namespace, local] = None
        self._depth += 1

    def _begin_part(self, local: str) -> None:
        if local in self._parts:
            raise HttpError(400, _BAD_BODY)
        self._parts[local] = self._part

    def end(self, _tag: str) -> None:
        """Leave an element."""
        self._depth -= 1

    def query(self) -> PropertyQuery:
        """Return what the whole document asks for. Raises HttpError 400."""
        match sorted(self._parts.keys() & {"allprop", "include", "prop", "propname"}):
            case ["allprop"] | ["allprop", "include"]:
                return PropertyQuery("allprop", self._names("include"))
            case ["prop"]:
                return PropertyQuery("prop", self._names("prop"))
            case ["propname"]:
                return PropertyQuery("propname")
        raise HttpError(400, _BAD_BODY)

    def _names(self, part: str) -> tuple[Name, ...]:
        names = tuple(self._parts.get(part, ()))
        if len(names) > MAX_NAMES:
            raise HttpError(400, f"At most {MAX_NAMES} properties may be asked for.")
        return names
