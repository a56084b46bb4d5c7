"""A listing as plain values: all that its forms show, and nothing that they would have to read."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry

Sort = Literal["name", "size", "time"]
Order = Literal["asc", "desc"]

PAGE_SIZE = 1_000
"""How many entries a page has unless the query or the settings say otherwise."""


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


class FolderText(NamedTuple):
    """A text that is shown with a folder: README.md below its entries, HEADER.md above them.

    name: of the file, in the folder. html: the rendered text; None if it is too large to be shown,
    so that only a link leads to it.
    """

    name: bytes
    html: str | None


class Listing(NamedTuple):
    """One page of the entries of a directory.

    path: of the directory. entries: those of this page, in order; in a deep search their names are
    paths relative to the directory, with slashes. total: how many entries match, on all pages.
    is_complete: False if a deep search stopped at a limit, so that there may be more than total.
    page_size: the limit that applies where the query names none. title: the name of the site, ""
    if it has none. archives: the formats on offer, such as "tar.gz".
    """

    path: TargetPath
    entries: Sequence[Entry]
    total: int
    query: ListingQuery = ListingQuery()
    is_complete: bool = True
    page_size: int = PAGE_SIZE
    title: str = ""
    header: FolderText | None = None
    readme: FolderText | None = None
    archives: tuple[str, ...] = ()
