"""The handlers of errors: they answer a request whose error is set."""

from collections.abc import Mapping
from functools import partial

from aserve.filesystem.directory import ResourceFinder
from aserve.handlers.handler import Note, RequestContext
from aserve.http.error_pages import Page, error_response
from aserve.http.messages import HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutSlash, Document

INTERNAL_ERROR = HttpError(500, "Something went wrong here.", close=True)

MAX_PAGE_SIZE = 1 << 20
"""Bytes. A larger file is not sent as an error page: each of these is read into memory."""

_NOT_FOUND_PAGE = b"404.html"


class ErrorPages:
    """Answers every error and redirect with a small readable page."""

    def handle(self, request: Request, context: RequestContext) -> Response:  # noqa: ARG002 - Handler
        """Return the response to request.error."""
        return error_response(request, request.error or INTERNAL_ERROR)


class CustomErrorPages:
    """Answers errors with the pages of a site: the nearest 404.html, or those of its settings.

    pages: the page of each status, beneath the root. They are looked up with each error, so that
    they are never stale. What is missing, unreadable or too large is replaced by the small page.
    place: where pages were set, for notes.
    """

    def __init__(
        self,
        files: ResourceFinder,
        pages: Mapping[int, TargetPath],
        *,
        decode_slashes: bool = False,
        place: str = "",
    ) -> None:
        self._files = files
        self._pages = pages
        self._decode_slashes = decode_slashes
        self._place = place

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return the response to request.error.

        Raises BlockingIOError where context.may_wait is False and it would have to wait.
        """
        error = request.error or INTERNAL_ERROR
        return error_response(request, error, partial(self._find_page, request, error, context))

    def _find_page(
        self, request: Request, error: HttpError, context: RequestContext
    ) -> Page | None:
        try:
            return self._page_of(request, error, context)
        except BlockingIOError:
            # A name that is never sent was not looked for on any disk. Scanners ask for such names:
            # they get the small page at once, and take no thread where a disk hangs.
            if isinstance(error, NotFound) and not error.absent:
                return None
            raise

    def _page_of(self, request: Request, error: HttpError, context: RequestContext) -> Page | None:
        wait = context.may_wait
        if error.status == 404 and (page := self._nearest_page(request, wait=wait)):
            if context.notes is not None:
                context.notes.append(Note("error", "the nearest 404.html is its page"))
            return page
        if error.status not in self._pages:
            return None
        place = self._pages[error.status]
        if context.notes is not None:
            context.notes.append(Note("error", f"its page is {place.location()}", self._place))
        return read_page(_find(self._files, place, wait=wait))

    def _nearest_page(self, request: Request, *, wait: bool) -> Page | None:
        """Return the 404.html of the deepest directory on the request's path that has one.

        It is searched from the root down, and only as far as there are directories, so that a
        long path does not make the search longer.
        """
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:
            path = TargetPath((), is_directory=True)
        names = path.segments if path.is_directory else path.segments[:-1]
        nearest = None
        for depth in range(len(names) + 1):
            directory = TargetPath(names[:depth], is_directory=False)
            if depth and not _is_directory(self._files, directory, wait=wait):
                break
            place = TargetPath((*names[:depth], _NOT_FOUND_PAGE), is_directory=False)
            nearest = _find(self._files, place, wait=wait) or nearest
        return read_page(nearest)


def _is_directory(files: ResourceFinder, path: TargetPath, *, wait: bool) -> bool:
    try:
        return isinstance(files.find(path, wait=wait), DirectoryWithoutSlash)
    except HttpError:
        return False


def _find(files: ResourceFinder, path: TargetPath, *, wait: bool) -> Document | None:
    try:
        resource = files.find(path, wait=wait)
    except HttpError:
        return None
    return resource if isinstance(resource, Document) else None


def has_file(files: ResourceFinder, path: TargetPath) -> bool:
    """Tell whether there is a file at a path that may be read; may wait."""
    return _find(files, path, wait=True) is not None


def read_page(document: Document | None) -> Page | None:
    """Return the uncoded bytes of a file, if it has any and is not too large.

    Raises BlockingIOError where the file was found without waiting, and has to be waited for.
    """
    if not document:
        return None
    page = document.representations[0]
    if page.coding != "identity" or page.length > MAX_PAGE_SIZE:
        return None
    try:
        data = page.source.read(0, page.length)
    except BlockingIOError:
        raise
    except OSError:
        return None
    return Page(page.media_type, data) if len(data) == page.length else None
