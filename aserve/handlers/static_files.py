"""GET and HEAD of the files of a site."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aserve.filesystem.directory import ResourceFinder
from aserve.handlers.cache_control import NO_CACHE, CacheControl
from aserve.handlers.handler import Note, RequestContext
from aserve.handlers.representation import respond_with_document
from aserve.http.messages import HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import DirectoryWithoutIndex, DirectoryWithoutSlash

if TYPE_CHECKING:
    from aserve.handlers.deferred import Deferred
    from aserve.handlers.folders import Folders


class StaticFiles:
    """Answers GET and HEAD with files.

    decode_slashes: whether %2F in a path separates segments. folders: answers directories without
    an index; lists_all: any directory, where the query asks for a listing or an archive.
    why_hidden: returns a note on what hides a path, None if nothing does. cache_control: of files;
    without it, all are validated before each use. why_cached: returns a note on that.
    """

    def __init__(  # noqa: PLR0913 - parts of a site, by their names
        self,
        files: ResourceFinder,
        *,
        decode_slashes: bool = False,
        folders: "Deferred[Folders] | None" = None,
        lists_all: bool = False,
        why_hidden: Callable[[TargetPath], Note | None] | None = None,
        cache_control: CacheControl | None = None,
        why_cached: Callable[[TargetPath], Note] | None = None,
    ) -> None:
        self._files = files
        self._folders = folders
        self._lists_all = lists_all
        self._decode_slashes = decode_slashes
        self._why_hidden = why_hidden
        self._cache_control = cache_control
        self._why_cached = why_cached

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return a file, or the redirect from a directory to its URL with a slash."""
        path = parse_path(request.target, decode_slashes=self._decode_slashes)
        if path.query and path.is_directory and self._lists_all and self._folders:
            folders = self._folders.get(context)
            if response := folders.respond_if_asked(request, context, path):
                return response
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
        if self._folders:
            return self._folders.get(context).respond(request, context, path, absent)
        if context.notes is not None:
            context.notes.append(Note("rule", "a folder without an index: it is not listed"))
        raise NotFound(absent)

    def _note_hidden(self, context: RequestContext, path: TargetPath) -> None:
        if context.notes is not None and self._why_hidden and (note := self._why_hidden(path)):
            context.notes.append(note)
