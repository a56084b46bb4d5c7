"""The properties of files and folders, and their XML (RFC 4918 section 15)."""

from collections.abc import Callable, Collection, Mapping
from functools import partial

from aserve.handlers.dav.multistatus import status_element, xml_text
from aserve.handlers.dav.query import DAV, Name, PropertyQuery
from aserve.http.dates import format_date
from aserve.http.media_types import MediaTypes
from aserve.http.resources import Entry, Validator, file_validator

_XML = "http://www.w3.org/XML/1998/namespace"
"""The one namespace that has the prefix xml, and no other (Namespaces in XML section 3)."""

Property = Callable[[Entry], str | None]
"""Returns the value of a property as XML; None for a resource that does not have it."""

Describe = Callable[[Entry], str]
"""Returns as XML what was asked of a resource."""


class Properties:
    """The properties that resources have here: what kind they are, and what GET says in headers.

    Creation times and locks are none of them: not every file system knows the one, and a server of
    class 1 has not the other. has_tags: whether files have entity tags that are made of their
    state.
    """

    def __init__(self, media_types: MediaTypes, *, has_tags: bool = True) -> None:
        self._media_types = media_types
        self._has_tags = has_tags

    def describer(self, query: PropertyQuery, now: int) -> Describe:
        """Return what describes resources as a query asks. now: POSIX time in seconds."""
        known = self._table(now)
        asked = [local for namespace, local in query.names if namespace == DAV and local in known]
        missing = "".join(_element(name) for name in query.names if not _is_in(name, known))
        chosen = asked if query.kind == "prop" else known
        is_empty = query.kind == "propname"
        values = {local: _named(known[local]) if is_empty else known[local] for local in chosen}
        return partial(_describe, values, frozenset(asked), missing)

    def _table(self, now: int) -> Mapping[str, Property]:
        def last_modified(entry: Entry) -> str | None:
            time = _validator(entry).last_modified(now)
            return None if time is None else format_date(time)

        return {
            "resourcetype": lambda entry: "<D:collection/>" if entry.is_directory else "",
            "displayname": lambda entry: xml_text(entry.name.decode(errors="replace")),
            "getlastmodified": last_modified,
            "getcontentlength": _of_file(lambda entry: str(entry.size)),
            "getcontenttype": _of_file(self._media_type),
            "getetag": _of_file(self._etag),
        }

    def _etag(self, entry: Entry) -> str | None:
        return xml_text(_validator(entry).etag) if self._has_tags else None

    def _media_type(self, entry: Entry) -> str:
        return xml_text(self._media_types.for_name(entry.name).value)


def _of_file(value: Property) -> Property:
    """Return a property that only files have: what GET sends for a folder is made by the server."""
    return lambda entry: None if entry.is_directory else value(entry)


def _named(value: Property) -> Property:
    """Return a property without its value."""
    return lambda entry: None if value(entry) is None else ""


def _validator(entry: Entry) -> Validator:
    return file_validator(entry.modified, entry.changed, entry.inode, entry.size)


def _is_in(name: Name, known: Collection[str]) -> bool:
    return name[0] == DAV and name[1] in known


def _describe(
    values: Mapping[str, Property], asked: Collection[str], missing: str, entry: Entry
) -> str:
    """Return the properties that a resource has, and those that it was asked for and has not."""
    found = ""
    for local, value in values.items():
        text = value(entry)
        if text is not None:
            found += f"<D:{local}>{text}</D:{local}>"
        elif local in asked:
            missing += f"<D:{local}/>"
    # At least one of the two is there (section 14.24).
    there = _propstat(200, found) if found or not missing else ""
    return there + _propstat(404, missing) if missing else there


def _propstat(status: int, properties: str) -> str:
    return f"<D:propstat><D:prop>{properties}</D:prop>{status_element(status)}</D:propstat>"


def _element(name: Name) -> str:
    """Return an empty element of any namespace."""
    namespace, local = name
    if namespace == DAV:
        return f"<D:{local}/>"
    if namespace == _XML:
        return f"<xml:{local}/>"
    return f'<{local} xmlns="{xml_text(namespace)}"/>' if namespace else f"<{local}/>"
