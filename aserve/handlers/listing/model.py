"""A listing as plain values: all that its forms show, and nothing that they would have to read."""

from collections.abc import Sequence
from typing import Literal, NamedTuple
from urllib.parse import urlencode

from aserve.handlers.listing.limits import PAGE_SIZE
from aserve.handlers.writing.areas import WriteMode
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry

Sort = Literal["name", "size", "time"]
Order = Literal["asc", "desc"]


class ListingQuery(NamedTuple):
    """What the query of a target asks of a listing.

    limit: the most entries on a page, at least 1. offset: how many matching entries come before
    the page. search: what names must match, "" for all. is_deep: whether directories below are
    searched as well.
    """

    sort: Sort = "name"
    order: Order = "asc"
    limit: int = PAGE_SIZE
    offset: int = 0
    search: str = ""
    is_deep: bool = False

    def parameters(self, page_size: int = PAGE_SIZE) -> dict[str, str]:
        """Return the parameters that ask for this, without those that would say nothing new.

        page_size: the limit that applies where the query names none.
        """
        defaults = _DEFAULTS._replace(limit=page_size)
        return {
            name: "1" if value is True else str(value)
            for name, value, default in zip(_PARAMETERS, self, defaults, strict=True)
            if value != default
        }


_DEFAULTS = ListingQuery()
_PARAMETERS = ("sort", "order", "limit", "offset", "q", "deep")


class FolderText(NamedTuple):
    """A text that is shown with a folder: README.md below its entries, HEADER.md above them.

    name: of the file, in the folder. html: the rendered text; None if it is too large to be shown,
    so that only a link leads to it.
    """

    name: bytes
    html: str | None


class Pages(NamedTuple):
    """The pages beside this one, as the queries that ask for them; None where there is none."""

    first: ListingQuery | None
    previous: ListingQuery | None
    next: ListingQuery | None
    last: ListingQuery | None


class Listing(NamedTuple):
    """One page of the entries of a directory.

    path: of the directory. entries: those of this page, in order; in a deep search their names are
    paths relative to the directory, with slashes. total: how many entries match, on all pages.
    is_complete: False if a deep search stopped at a limit, so that there may be more than total.
    page_size: the limit that applies where the query names none. title: the name of the site, ""
    if it has none. archives: the formats on offer, such as "tar.gz". write_mode: whether names
    may be replaced and deleted, or only added; None where nothing may be written. depth: how many
    names of the path are not told, since what is shown is all beneath them.
    """

    path: TargetPath
    entries: Sequence[Entry]
    total: int
    query: ListingQuery = _DEFAULTS
    is_complete: bool = True
    page_size: int = PAGE_SIZE
    title: str = ""
    header: FolderText | None = None
    readme: FolderText | None = None
    archives: tuple[str, ...] = ()
    write_mode: WriteMode | None = None
    depth: int = 0

    @property
    def shown_path(self) -> TargetPath:
        """The path as far as it is told."""
        return self.path._replace(segments=self.path.segments[self.depth :])

    def has_boxes(self) -> bool:
        """Tell whether entries can be selected: for an archive, or to be deleted or renamed."""
        return bool(self.archives) or self.write_mode == "all"

    def reference(self, query: ListingQuery) -> str:
        """Return the URL of the same directory with another query, relative to this one."""
        parameters = query.parameters(self.page_size)
        return f"?{urlencode(parameters, errors='surrogateescape')}" if parameters else "./"

    def pages(self) -> Pages:
        """Return the pages beside this one."""
        query, limit = self.query, self.query.limit
        last = max(self.total - 1, 0) // limit * limit
        has_before, has_after = query.offset > 0, query.offset + limit < self.total
        before = min(query.offset - limit, last)
        return Pages(
            query._replace(offset=0) if has_before else None,
            query._replace(offset=max(before, 0)) if has_before else None,
            query._replace(offset=query.offset + limit) if has_after else None,
            query._replace(offset=last) if has_after else None,
        )
