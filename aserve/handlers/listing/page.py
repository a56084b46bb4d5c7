"""The HTML page of a directory: complete without a script, a style or a picture.

All that a page needs is in it. What comes from a file name or from the query is escaped here, and
README and HEADER are HTML already (folder_text.py).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from html import escape

from aserve.filesystem.steps import in_steps
from aserve.handlers.listing.model import FolderText, Listing, ListingQuery, Order, Sort
from aserve.handlers.listing.names import name_reference, visible_name, visible_text
from aserve.handlers.listing.page_parts import READ_ONLY, WRITABLE, PageParts
from aserve.http.dates import EARLIEST, LATEST
from aserve.http.html_page import html_page
from aserve.http.messages import Headers
from aserve.http.resources import Entry

_COLUMNS: tuple[tuple[Sort, str, Order], ...] = (
    ("name", "Name", "asc"),
    ("size", "Size", "desc"),
    ("time", "Modified <span>(UTC)</span>", "desc"),
)
"""Each column with its heading, and the order that a first click gives: largest, newest first."""

_EPOCH = datetime(1970, 1, 1)
_LINE_BREAK_OR_SLASH = frozenset(b"\r\n/")
_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def render_page(listing: Listing) -> bytes:
    """Return the page of a listing, in UTF-8. Pauses where that takes long, as in_steps does."""
    style = _parts(listing).style
    return html_page(_title(listing), style, "".join(_body(listing))).encode(errors="replace")


def page_headers(listing: Listing) -> Headers:
    """Return what the page of a listing may do, as headers."""
    return _parts(listing).headers


def _parts(listing: Listing) -> PageParts:
    return WRITABLE if listing.write_mode else READ_ONLY


def readable_size(size: int) -> str:
    """Return a size in bytes in the unit that keeps it short: 999 B, 1.0 kB (1,000 bytes)."""
    if size < 1_000:
        return f"{size} B"
    amount, unit = size / 1_000, 0
    while amount >= 999.95:  # which would be written as 1000.0
        amount, unit = amount / 1_000, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}"


def _title(listing: Listing) -> str:
    """Return the title: the path, and the name of the site if it has one."""
    path = "/".join(map(_name, listing.shown_path.segments))
    if not listing.title:
        return f"Index of /{path}{path and '/'}"
    return f"{path}/ · {escape(listing.title)}" if path else escape(listing.title)


def _body(listing: Listing) -> Iterator[str]:
    yield _robots(listing)
    yield '<a class="skip" href="#~files">Skip to the files</a>\n'
    yield f'<header><nav aria-label="Breadcrumb"><ol>{_breadcrumb(listing)}</ol></nav></header>\n'
    yield "<main>\n"
    yield _folder_text(listing.header, "header")
    yield _tools(listing)
    yield _upload_form(listing)
    yield from _table(listing)
    yield _pages(listing)
    yield _folder_text(listing.readme, "readme")
    yield f"</main>\n{_parts(listing).script_tags()}"


def _robots(listing: Listing) -> str:
    """Return what keeps wget -r and crawlers from the same files in another order."""
    order = listing.query._replace(limit=0, offset=0)
    if order == ListingQuery(limit=0):
        return ""
    return '<meta name="robots" content="noindex, nofollow">\n'


def _name(name: bytes) -> str:
    return escape(visible_name(name))


def _breadcrumb(listing: Listing) -> str:
    """Return the names on the path, each with its link: relative, so behind any prefix."""
    names = [escape(listing.title or "Index")]
    names += (f"<bdi>{_name(segment)}</bdi>" for segment in listing.shown_path.segments)
    depth = len(names) - 1
    links = [
        f'<li><a href="{"../" * (depth - level)}">{name}</a></li>'
        for level, name in enumerate(names[:-1])
    ]
    return f'{"".join(links)}<li aria-current="page"><h1>{names[-1]}</h1></li>'


def _tools(listing: Listing) -> str:
    """Return the forms; nothing for a folder in which there is nothing to search or to download."""
    if not (listing.total or listing.query.search or listing.query.is_deep):
        return ""
    return f'<div class="tools">\n{_search_form(listing)}{_archive_form(listing)}</div>\n'


def _search_form(listing: Listing) -> str:
    """Return the search box. What the query says besides stays as it is, but the first page."""
    query = listing.query
    checked = " checked" if query.is_deep else ""
    return (
        '<form role="search" action="./">\n'
        f"{_kept_parameters(listing)}"
        f'<input type="search" name="q" value="{escape(query.search)}" aria-label="Search"'
        ' placeholder="Name or *.pattern" autocomplete="off" spellcheck="false">\n'
        "<button>Search</button>\n"
        f'<label><input type="checkbox" name="deep" value="1"{checked}>With subfolders</label>\n'
        "</form>\n"
    )


def _kept_parameters(listing: Listing) -> str:
    query = listing.query._replace(offset=0, search="", is_deep=False)
    return "".join(
        f'<input type="hidden" name="{name}" value="{value}">\n'
        for name, value in query.parameters(listing.page_size).items()
    )


def _archive_form(listing: Listing) -> str:
    """Return the buttons that download the directory, or the entries whose boxes are checked.

    No links: wget -r and crawlers would follow them, and fetch all that is below once more for
    each directory and format.
    """
    if not listing.archives:
        return ""
    buttons = "".join(
        f'<button name="archive" value="{name}">{name}</button>\n' for name in listing.archives
    )
    return f'<form id="~archive" action="./">\n<span>Download folder as</span>\n{buttons}</form>\n'


def _upload_form(listing: Listing) -> str:
    """Return the form that adds files; "" where none may be added, and in a search.

    The script makes of it what sends several files at once, and tells how far they are.
    """
    if not listing.write_mode:
        return ""
    return (
        '<form id="~upload" class="upload" method="post" enctype="multipart/form-data" action="./"'
        f' data-mode="{listing.write_mode}">\n'
        '<label>Add files <input type="file" name="file" multiple required></label>\n'
        "<button>Upload</button>\n</form>\n"
    )


def _table(listing: Listing) -> Iterator[str]:
    if not listing.entries:
        yield f'<p id="~files" role="status">{_nothing(listing)}</p>\n'
        return
    yield '<table id="~files" class="files">\n'
    yield f'<caption><span role="status">{_count(listing)}{_search(listing)}</span></caption>\n'
    headings = "".join(_heading(listing, *column) for column in _COLUMNS)
    first = "<td></td>" if listing.has_boxes() else ""
    yield f"<thead><tr>{first}{headings}</tr></thead>\n<tbody>\n"
    yield from in_steps(map(partial(_row, has_box=listing.has_boxes()), listing.entries))
    yield "</tbody>\n</table>\n"


def _heading(listing: Listing, sort: Sort, text: str, first: Order) -> str:
    """Return a column's heading: a link that sorts by it, or turns the order round."""
    query = listing.query._replace(sort=sort, order=first, offset=0)
    state = arrow = ""
    if sort == listing.query.sort:
        is_descending = listing.query.order == "desc"
        query = query._replace(order="asc" if is_descending else "desc")
        state = f' aria-sort="{"descending" if is_descending else "ascending"}"'
        arrow = f'<span aria-hidden="true"> {"↓" if is_descending else "↑"}</span>'
    target = escape(listing.reference(query))
    return f'<th scope="col"{state}><a href="{target}" rel="nofollow">{text}{arrow}</a></th>'


def _row(entry: Entry, *, has_box: bool) -> str:
    """Return the row of an entry. has_box: whether it begins with a box to select the entry."""
    name, is_directory, size, modified, is_link, *_ = entry
    target = name_reference(name, is_directory=is_directory)
    shown = _name(name)
    box = f"<td>{_checkbox(name, shown)}</td>" if has_box else ""
    link = " <small>link</small>" if is_link else ""
    kind, slash, cell = (
        (' class="d"', "/", "<td></td>")
        if is_directory
        else ("", "", f'<td title="{size:,} bytes">{readable_size(size)}</td>')
    )
    # align: w3m knows no style, and centres headings. Each name on a path has its own direction.
    names = shown.replace("/", "</bdi>/<bdi>")
    return (
        f'<tr{kind}>{box}<th scope="row" align="left"><a href="{target}"><bdi>{names}</bdi>{slash}'
        f"</a>{link}</th>{cell}<td>{_time(modified)}</td></tr>\n"
    )


def _checkbox(name: bytes, shown: str) -> str:
    """Return what selects an entry; "" for a name that no form can send.

    A form sends UTF-8, and each kind of line break as CR LF. An archive has names of its directory.
    """
    try:
        value = escape(name.decode())
    except UnicodeDecodeError:
        return ""
    if not _LINE_BREAK_OR_SLASH.isdisjoint(name):
        return ""
    return (
        f'<input type="checkbox" name="name" value="{value}" form="~archive"'
        f' aria-label="Select {shown}">'
    )


def _time(modified: int) -> str:
    """Return a POSIX time in nanoseconds, exact to the second, shown to the minute."""
    seconds = min(max(modified // 1_000_000_000, EARLIEST), LATEST)
    time = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return f'<time datetime="{time}Z">{time[:10]} <span>{time[11:16]}</span></time>'


def _count(listing: Listing) -> str:
    """Return which of how many entries are on the page."""
    total, shown, offset = listing.total, len(listing.entries), listing.query.offset
    if shown < total:
        return f"{offset + 1:,} to {offset + shown:,} of {total:,}"
    return "1 item" if total == 1 else f"{total:,} items"


def _search(listing: Listing) -> str:
    """Return what was searched for, and whether all was searched."""
    query = listing.query
    if not query.search:
        return ""
    where = ", subfolders included" if query.is_deep else ""
    limit = "" if listing.is_complete else ". The search stopped at its limit: there may be more"
    return f" for <bdi>{escape(visible_text(query.search))}</bdi>{where}{limit}"


def _nothing(listing: Listing) -> str:
    """Return why there are no entries."""
    if listing.total:
        return f'There are only {listing.total:,} items. <a href="./">To the first page</a>'
    if listing.query.search:
        return f'Nothing was found{_search(listing)}. <a href="./">Show all files</a>'
    return "This folder is empty."


def _pages(listing: Listing) -> str:
    """Return the links to the other pages; nothing if there are none."""
    pages = listing.pages()
    if not any(pages):
        return ""
    links = (
        _page_link(listing, pages.first, "First"),
        _page_link(listing, pages.previous, "Previous", "prev"),
        f"<span>{_count(listing)}</span>\n",
        _page_link(listing, pages.next, "Next", "next"),
        _page_link(listing, pages.last, "Last"),
    )
    return f'<nav class="pages" aria-label="Pages">\n{"".join(links)}</nav>\n'


def _page_link(listing: Listing, query: ListingQuery | None, text: str, relation: str = "") -> str:
    if query is None:
        return f"<span>{text}</span>\n"
    rel = f' rel="{relation}"' if relation else ""
    return f'<a href="{escape(listing.reference(query))}"{rel}>{text}</a>\n'


def _folder_text(text: FolderText | None, kind: str) -> str:
    """Return README or HEADER with its name, which leads to the file."""
    if text is None:
        return ""
    name = _name(text.name)
    link = f'<p class="file"><a href="{name_reference(text.name)}"><bdi>{name}</bdi></a></p>\n'
    html = "<p>It is too large to be shown here.</p>\n" if text.html is None else text.html
    return f'<section class="text {kind}" aria-label="{name}">\n{link}{html}</section>\n'
