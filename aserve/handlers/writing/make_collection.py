"""MKCOL: makes a directory (RFC 4918 section 9.3)."""

from aserve.filesystem.writing.errors import Exists, ParentMissing, WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.errors import http_error
from aserve.handlers.writing.parents import make_parents, makes_directories
from aserve.handlers.writing.tree import Target
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import BodySink, HttpError, Request, Response
from aserve.http.request_target import TargetPath


class MakeCollection:
    """Answers MKCOL."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:  # noqa: ARG002 - AcceptBody
        """Reject a body: none is defined for MKCOL (RFC 4918 section 9.3)."""
        is_writable = self._writing.tree.find(self._writing.path_of(request))
        if is_writable and request.headers.get("content-length") != "0":
            raise HttpError(415, "MKCOL has no body here.", close=True)
        return None

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Make a directory. Raises HttpError."""
        path = self._writing.path_of(request)
        target = self._writing.tree.find(path)
        if target is None:
            raise self._writing.not_allowed(request, context, "No folder can be made here.")
        if not context.may_wait:
            raise BlockingIOError
        try:
            self._make(path, target)
        except Exists as error:
            raise self._writing.not_allowed(request, context, error.detail) from None
        except WriteError as error:
            raise http_error(error) from None
        return Response(201, length=0)

    def _make(self, path: TargetPath, target: Target) -> None:
        try:
            target.storage.make_directory(target.path)
        except ParentMissing:
            if not makes_directories(path):
                raise
            make_parents(self._writing.tree, path)
            target.storage.make_directory(target.path)
