"""GET and HEAD of the files of a site."""

from aserve.filesystem.directory import FileSystem
from aserve.handlers.archive.handler import Archives
from aserve.handlers.handler import RequestContext
from aserve.handlers.representation import respond_with_document
from aserve.http.messages import HttpError, Request, Response
from aserve.http.request_target import parse_path
from aserve.http.resources import DirectoryWithoutIndex, DirectoryWithoutSlash


class StaticFiles:
    """Answers GET and HEAD with files.

    decode_slashes: whether %2F in a path separates segments. archives: makes them of directories.
    """

    def __init__(
        self,
        files: FileSystem,
        *,
        decode_slashes: bool = False,
        archives: Archives | None = None,
    ) -> None:
        self._files = files
        self._archives = archives
        self._decode_slashes = decode_slashes

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Return a file, or the redirect from a directory to its URL with a slash."""
        path = parse_path(request.target, decode_slashes=self._decode_slashes)
        resource = self._files.find(path, wait=context.may_wait)
        if isinstance(resource, DirectoryWithoutSlash):
            location = path._replace(is_directory=True).location()
            headers = (("Location", location),)
            raise HttpError(301, "The URL of a directory ends with a slash.", headers)
        if isinstance(resource, DirectoryWithoutIndex):
            archives = self._archives
            if archives and (archive := archives.respond(request, context, path)):
                return archive
            raise HttpError(404, "Nothing is here.")
        response = respond_with_document(request, resource, context.now)
        # No body is sent to HEAD, whatever the handler: here only so that no file is read for it.
        return response.without_body() if request.method == "HEAD" else response
