"""MOVE: gives a file or a directory another path (RFC 4918 section 9.9), where nothing is yet."""

from urllib.parse import urlsplit

from aserve.filesystem.writing.errors import AddOnly, Exists, Hidden, WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.conditions import Conditions
from aserve.handlers.writing.errors import http_error
from aserve.handlers.writing.tree import Target
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath, parse_path


class Move:
    """Answers MOVE."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Move what is at a path. Raises HttpError."""
        path = self._writing.path_of(request)
        source = self._writing.tree.find(path)
        if source is None:
            raise self._writing.not_allowed(request, context, "Nothing can be moved from here.")
        if not self._writing.tree.may_delete(path):
            raise HttpError(403, "Below this folder is one from which nothing may be moved.")
        destination = self._destination(request)
        target = self._writing.tree.find(destination)
        if target is None or target.storage is not source.storage:
            raise HttpError(403, "Nothing can be moved there.")
        if not context.may_wait:
            raise BlockingIOError
        try:
            self._move(source, target, request, context)
        except WriteError as error:
            raise self._error(error, request, context) from None
        return Response(201, (("Location", destination.location()),), length=0)

    def _destination(self, request: Request) -> TargetPath:
        """Return the path in the header Destination (RFC 4918 section 10.3)."""
        text = request.header("destination")
        if not text:
            raise HttpError(400, "The header Destination is missing.")
        try:
            url = urlsplit(text)
        except ValueError:
            raise HttpError(400, "The header Destination is not a URL.") from None
        if url.netloc and url.netloc.lower() != (request.headers.get("host") or "").lower():
            # RFC 4918 section 9.9.4. The scheme may be that of a proxy.
            raise HttpError(502, "Nothing can be moved to another server.")
        if not url.path.startswith("/"):
            raise HttpError(400, "The header Destination is not a URL.")
        path = parse_path(url.path, decode_slashes=self._writing.decode_slashes)
        return path._replace(query="")

    @staticmethod
    def _move(source: Target, target: Target, request: Request, context: RequestContext) -> None:
        try:
            source.storage.status(source.path)
        except Hidden:  # as to GET: what is hidden is not there
            raise NotFound from None
        source.storage.move(source.path, target.path, Conditions(request, context).check)

    def _error(self, error: WriteError, request: Request, context: RequestContext) -> HttpError:
        if isinstance(error, AddOnly):
            return self._writing.not_allowed(request, context, error.detail)
        if isinstance(error, Exists):
            # Whatever Overwrite says: nothing is replaced by a MOVE.
            return HttpError(412, "The new name is already taken.")
        return http_error(error)
