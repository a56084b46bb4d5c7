"""DELETE: removes a file, or a directory with all that is in it (RFC 9110 9.3.5, RFC 4918 9.6)."""

from collections.abc import Iterable
from html import escape

from aserve.filesystem.writing.deletion import Deleted
from aserve.filesystem.writing.errors import AddOnly, Hidden, ParentMissing, WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.conditions import Conditions
from aserve.handlers.writing.errors import http_error, status_of
from aserve.handlers.writing.tree import Names, Target
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import (
    NOSNIFF,
    REASON_PHRASES,
    Headers,
    HttpError,
    NotFound,
    Request,
    Response,
)
from aserve.http.request_target import TargetPath

_XML: Headers = (("Content-Type", "application/xml; charset=utf-8"), NOSNIFF)

_XML_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'

Failure = tuple[TargetPath, WriteError]
"""What could not be deleted, and why."""


class Delete:
    """Answers DELETE."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Delete what is at a path. Raises HttpError."""
        path = self._writing.path_of(request)
        target = self._writing.tree.find(path)
        if target is None:
            raise self._writing.not_allowed(request, context, "Nothing can be deleted here.")
        if not self._writing.tree.may_delete(path):
            raise HttpError(403, "Below this folder is one from which nothing may be deleted.")
        if not context.may_wait:
            raise BlockingIOError
        if (request.header("depth") or "infinity").lower() != "infinity":
            raise HttpError(400, "A folder is deleted with all that is in it: Depth: infinity.")
        failed = self._delete(target, request, context).failed
        prefix = path.segments[: len(path.segments) - len(target.path.segments)]
        return _multi_status(prefix, failed) if failed else Response(204)

    def _delete(self, target: Target, request: Request, context: RequestContext) -> Deleted:
        guard = Conditions(request, context).check
        try:
            return target.storage.delete(target.path, guard, tree=True)
        except AddOnly as error:
            raise self._writing.not_allowed(request, context, error.detail) from None
        except (Hidden, ParentMissing):  # as to GET: what is hidden is not there
            raise NotFound from None
        except WriteError as error:
            raise http_error(error) from None


def _multi_status(prefix: Names, failed: Iterable[Failure]) -> Response:
    """Return a 207 that names what could not be deleted, and why (RFC 4918 section 9.6.1)."""
    entries = "".join(_entry(prefix, path, error) for path, error in failed)
    document = f'{_XML_DECLARATION}<D:multistatus xmlns:D="DAV:">{entries}\n</D:multistatus>\n'
    body = document.encode()
    return Response(207, _XML, (body,), len(body))


def _entry(prefix: Names, path: TargetPath, error: WriteError) -> str:
    location = path._replace(segments=prefix + path.segments, query="").location()
    status = status_of(error)
    return (
        f"\n<D:response><D:href>{escape(location)}</D:href>"
        f"<D:status>HTTP/1.1 {status} {REASON_PHRASES[status]}</D:status>"
        f"<D:responsedescription>{escape(error.detail)}</D:responsedescription></D:response>"
    )
