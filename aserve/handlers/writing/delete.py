"""DELETE: removes a file, or a directory with all that is in it (RFC 9110 9.3.5, RFC 4918 9.6)."""

from collections.abc import Iterable

from aserve.filesystem.writing.deletion import Deleted
from aserve.filesystem.writing.errors import AddOnly, Hidden, ParentMissing, WriteError
from aserve.handlers.dav.multistatus import (
    BEGINNING,
    END,
    XML_HEADERS,
    response_element,
    status_element,
    xml_text,
)
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.conditions import Conditions
from aserve.handlers.writing.errors import http_error, status_of
from aserve.handlers.writing.tree import Names, Target
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import HttpError, NotFound, Request, Response
from aserve.http.request_target import TargetPath

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
    body = f"{BEGINNING}{entries}{END}".encode()
    return Response(207, XML_HEADERS, (body,), len(body), echoes=True)  # the path


def _entry(prefix: Names, path: TargetPath, error: WriteError) -> str:
    location = path._replace(segments=prefix + path.segments, query="").location()
    reason = f"<D:responsedescription>{xml_text(error.detail)}</D:responsedescription>"
    return response_element(location, status_element(status_of(error)) + reason)
