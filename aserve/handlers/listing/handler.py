"""Answers a directory that has no index with what is in it."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from threading import BoundedSemaphore

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.steps import in_steps, turns
from aserve.handlers.handler import RequestContext
from aserve.handlers.listing.formats import program_forms
from aserve.handlers.listing.limits import PAGE_SIZE
from aserve.handlers.listing.model import Listing, ListingQuery
from aserve.handlers.listing.names import visible_name
from aserve.handlers.listing.page import page_headers, render_page
from aserve.handlers.listing.query import (
    ListingRequest,
    negotiate_form,
    parameters,
    parse_query,
)
from aserve.handlers.listing.search import Found, SearchLimits, find_entries
from aserve.handlers.listing.text_reader import TextReader
from aserve.handlers.writing.areas import WriteMode
from aserve.http import preconditions
from aserve.http.media_types import MediaTypes
from aserve.http.messages import NOSNIFF, Headers, HttpError, Request, Response
from aserve.http.preconditions import PreconditionResult
from aserve.http.request_target import TargetPath
from aserve.http.resources import UNKNOWN_TIME, Validator
from aserve.version import __version__

_SHOWN_FIELDS = 5  # of an entry: name, is_directory, size, modified, is_link
_HTML_TYPE = "text/html; charset=utf-8"


class Listings:
    """Makes the listings of the directories of a site.

    page_size: how many entries a page has unless the query says otherwise. title: the name of the
    site. archives: the formats that are offered on pages. has_texts: whether README and HEADER are
    shown. limits: of a deep search; free_searches: those that may still begin, which several
    listings may share. write_mode: returns what may be done to the entries of a
    directory; None where nothing may be written anywhere. depth: as Listing has it.
    """

    def __init__(  # noqa: PLR0913 - each is a setting
        self,
        files: FileSystem,
        media_types: MediaTypes | None = None,
        *,
        page_size: int = PAGE_SIZE,
        title: str = "",
        archives: Sequence[str] = (),
        has_texts: bool = True,
        limits: SearchLimits | None = None,
        free_searches: BoundedSemaphore | None = None,
        write_mode: Callable[[TargetPath], WriteMode | None] | None = None,
        depth: int = 0,
    ) -> None:
        self._files = files
        self._forms = program_forms(media_types or MediaTypes())
        self._page_size = page_size
        self._title = title
        self._archives = tuple(archives)
        self._texts = TextReader(files) if has_texts else None
        self._limits = limits or SearchLimits()
        self._write_mode = write_mode
        self._depth = depth
        self._free_searches = free_searches or BoundedSemaphore(self._limits.max_running)

    @staticmethod
    def is_asked_for(query: str) -> bool:
        """Tell whether a query names the form of a listing."""
        return "format" in query and "format" in parameters(query)

    def respond(self, request: Request, context: RequestContext, directory: TargetPath) -> Response:
        """Return the listing of a directory in the form that the request asks for.

        Raises HttpError: 400 for a bad parameter, 404 for a page that is beyond the end, 503 for
        one more deep search than may run, and what reading the directory ends in. Raises
        BlockingIOError where waiting is not allowed.
        """
        asked = parse_query(directory.query, self._page_size)
        if not context.may_wait:
            raise BlockingIOError
        with turns:
            return self._respond(request, context.now, directory, asked)

    def _respond(
        self, request: Request, now: int, directory: TargetPath, asked: ListingRequest
    ) -> Response:
        form = asked.form or negotiate_form(request.headers.get("accept"))
        listing = self._listing(directory, asked.query, form, now)
        if asked.query.offset and asked.query.offset >= listing.total:
            return self._beyond_the_end(listing, form)
        validator = Validator(_entity_tag(listing, form), UNKNOWN_TIME)
        headers = (("ETag", validator.etag), *_common_headers(asked.form))
        result = preconditions.evaluate(request, validator, now)
        if result is PreconditionResult.FAILED:
            raise HttpError(412, "The listing does not match the preconditions of the request.")
        if result is PreconditionResult.NOT_MODIFIED:
            # They replace what a cache has of the page (RFC 9111 section 3.2): without them, a
            # policy could take it for an uploaded one.
            kept = page_headers(listing) if form == "html" else ()
            return Response(304, headers + kept)
        return self._whole(listing, form, headers + _page_headers(listing, asked.form))

    def _listing(self, directory: TargetPath, query: ListingQuery, form: str, now: int) -> Listing:
        found = self._find(directory, query)
        listing = Listing(
            directory,
            found.entries,
            found.total,
            query,
            found.is_complete,
            self._page_size,
            self._title_above(directory),
            archives=self._archives,
            write_mode=self._write_mode(directory) if self._write_mode else None,
            depth=self._depth,
        )
        is_first = not (query.search or query.is_deep or query.offset)
        if not (form == "html" and is_first and self._texts):
            return listing
        header, readme = self._texts.find(directory, found.names, now)
        return listing._replace(header=header, readme=readme)

    def _title_above(self, directory: TargetPath) -> str:
        """Return the name of the site, or else of the folder that all that is shown is in."""
        if self._title or not self._depth:
            return self._title
        return visible_name(directory.segments[self._depth - 1])

    def _find(self, directory: TargetPath, query: ListingQuery) -> Found:
        """Return what a query asks for. Raises HttpError 503 for a deep search beside many."""
        if not query.is_deep:
            return find_entries(self._files, directory, query, self._limits)
        if not self._free_searches.acquire(blocking=False):
            raise HttpError(503, "Many searches are running. Try again in a moment.")
        try:
            return find_entries(self._files, directory, query, self._limits)
        finally:
            self._free_searches.release()

    def _whole(self, listing: Listing, form: str, headers: Headers) -> Response:
        echoes = bool(listing.query.search)
        if form == "html":
            body = render_page(listing)
            headers = (("Content-Type", _HTML_TYPE), *headers, *page_headers(listing))
            return Response(200, headers, (body,), len(body), echoes=echoes)
        media_type, render = self._forms[form]
        headers = (("Content-Type", media_type), *headers, NOSNIFF)
        body = b"".join(render(listing))
        # Without a length it is sent in chunks, once it takes more than one write.
        length = None if form == "ndjson" else len(body)
        return Response(200, headers, (body,), length, echoes=echoes)

    def _beyond_the_end(self, listing: Listing, form: str) -> Response:
        """Return a page that leads to the first one, or raise HttpError for programs."""
        if form != "html":
            raise HttpError(
                404, f"The offset is beyond the end: there are {listing.total} entries."
            )
        return self._whole(listing, form, _common_headers(None))._replace(status=404)


def _common_headers(form: str | None) -> Headers:
    headers: Headers = (("Cache-Control", "no-cache"),)
    return headers if form else (*headers, ("Vary", "Accept"))


def _page_headers(listing: Listing, form: str | None) -> Headers:
    """Return where the other pages are (RFC 8288), and what the page does not have itself."""
    pages = listing.pages()
    links = [("first", pages.first), ("prev", pages.previous), ("next", pages.next)]
    headers: Headers = (("X-Total-Count", str(listing.total)),)
    if not listing.is_complete:
        headers += (("Search-Complete", "?0"),)
    value = ", ".join(
        f'<{_reference(listing, query, form)}>; rel="{relation}"'
        for relation, query in links
        if query
    )
    return (*headers, ("Link", value)) if value else headers


def _reference(listing: Listing, query: ListingQuery, form: str | None) -> str:
    """Return the URL of another page, in the same form if the query names it."""
    reference = listing.reference(query)
    if not form:
        return reference
    return f"{reference}&format={form}" if reference[0] == "?" else f"?format={form}"


def _entity_tag(listing: Listing, form: str) -> str:
    """Return a strong tag: a form is made of nothing but the listing, and of this program."""
    digest = blake2b(
        repr((__version__, form, listing._replace(entries=()))).encode(), digest_size=15
    )
    for entry in in_steps(listing.entries):
        digest.update(repr(entry[:_SHOWN_FIELDS]).encode())
    return f'"{digest.hexdigest()}"'
