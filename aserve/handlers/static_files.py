"""GET and HEAD of the files of a site."""

from collections.abc import Callable

from aserve.filesystem.directory import ResourceFinder
from aserve.handlers.archive.handler import Archives
from aserve.handlers.cache_control import NO_CACHE, CacheControl
from aserve.handlers.handler import Note, RequestContext
from aserve.handlers.listing.handler import Listings, asks_for_listing
from aserve.handlers.representation import respond_with_document
from aserve.http.messages import HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutIndex, DirectoryWithoutSlash


class StaticFiles:
    """Answers GET and HEAD with files.

    decode_slashes: whether %2F in a path separates segments. listings, archives: those of
    directories without an index; lists_all: of any directory, where the query asks for one.
    why_hidden: returns a note on what hides a path, None if nothing does. cache_control: of files;
    without it, all are validated before each use. why_cached: returns a note on that.
    """

    def __init__(  # noqa: PLR0913 - parts of a site, by their names
        self,
        files: ResourceFinder,
        *,
        decode_slashes: bool = False,
        listings: Listings | None = None,
        archives: Archives | None = None,
        lists_all: bool = False,
        why_hidden: Callable[[TargetPath], Note | None] | None = None,
        cache_control: CacheControl | None = None,
        why_cached: Callable[[TargetPath], Note] | None = None,
    ) -> None:
        self._files = files
        self._listings = listings
        self._archives = archives
        self._lists_all = lists_all
        self._decode_slashes = decode_slashes
        self._why_hidden = why_hidden
        self._cache_control = cache_control
        self._why_cached = why_cached

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return a file, or the redirect from a directory to its URL with a slash."""
        path = parse_path(request.target, decode_slashes=self._decode_slashes)
        if path.query and path.is_directory and self._lists_all:
            if archive := self._archive(request, context, path):
                return archive
            if self._listings and asks_for_listing(path.query):
                return self._listings.respond(request, context, path)
        try:
            resource = self._files.find(path, wait=context.may_wait)
        except NotFound:
            self._note_hidden(context, path)
            raise
        if isinstance(resource, DirectoryWithoutSlash):
            location = path._replace(is_directory=True).location()
            headers = (("Location", location),)
            raise HttpError(301, "The URL of a directory ends with a slash.", headers)
        if isinstance(resource, DirectoryWithoutIndex):
            return self._directory(request, context, path, resource.absent)
        cache_control = self._cache_control(path) if self._cache_control else NO_CACHE
        if context.notes is not None and self._why_cached:
            context.notes.append(self._why_cached(path))
        response = respond_with_document(request, resource, context.now, cache_control)
        # No body is sent to HEAD, whatever the handler: here only so that no file is read for it.
        return response.without_body() if request.method == "HEAD" else response

    def _directory(
        self,
        request: Request,
        context: RequestContext,
        path: TargetPath,
        absent: tuple[bytes, ...],
    ) -> Response:
        if archive := self._archive(request, context, path):
            return archive
        if context.notes is not None:
            is_listed = "listed" if self._listings else "not listed"
            context.notes.append(Note("rule", f"a folder without an index: it is {is_listed}"))
        if self._listings is None:
            raise NotFound(absent)
        return self._listings.respond(request, context, path)

    def _note_hidden(self, context: RequestContext, path: TargetPath) -> None:
        if context.notes is not None and self._why_hidden and (note := self._why_hidden(path)):
            context.notes.append(note)

    def _archive(
        self, request: Request, context: RequestContext, path: TargetPath
    ) -> Response | None:
        return self._archives.respond(request, context, path) if self._archives else None
