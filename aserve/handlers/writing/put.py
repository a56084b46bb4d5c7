"""PUT: stores the body under the path of the request, as a whole or not at all (RFC 9110 9.3.4)."""

import os
import stat

from aserve.filesystem.opened_file import validator_of
from aserve.filesystem.writing.errors import AddOnly, IsDirectory, ParentMissing, WriteError
from aserve.filesystem.writing.new_file import NewFile
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.body import StoringSink, announced_size, check_is_whole
from aserve.handlers.writing.conditions import Conditions
from aserve.handlers.writing.digests import ExpectedDigests
from aserve.handlers.writing.errors import http_error
from aserve.handlers.writing.parents import make_parents, makes_directories
from aserve.handlers.writing.tree import Target
from aserve.handlers.writing.writing import Writing
from aserve.http.error_pages import problem_response
from aserve.http.messages import BodySink, Headers, HttpError, Request, Response
from aserve.http.request_target import TargetPath

_NOT_ALLOWED = "This method is not allowed."


class Put:
    """Answers PUT."""

    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return what stores the body; None where nothing may be stored, which handle says."""
        path = self._writing.path_of(request)
        target = self._writing.tree.find(path)
        return PutSink(self._writing, target, path, request, context) if target else None

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Reject a request whose body no sink has got."""
        if self._writing.tree.find(self._writing.path_of(request)):
            raise HttpError(411, "The length of the body is missing, and it is not in chunks.")
        raise self._writing.not_allowed(request, context, _NOT_ALLOWED)


class PutSink(StoringSink):
    """Stores one body."""

    may_wait = True
    _digests: ExpectedDigests
    _file: NewFile
    """Both are set by begin; without _is_open there is no file."""

    def __init__(
        self,
        writing: Writing,
        target: Target,
        path: TargetPath,
        request: Request,
        context: RequestContext,
    ) -> None:
        self.max_size = writing.max_upload
        self._writing = writing
        self._target = target
        self._path = path
        self._request = request
        self._context = context
        self._guard = _Guard(target, Conditions(request, context))
        self._is_open = False

    def _begin(self, *, at_once: bool) -> None:
        _check_message(self._request, self._path)
        self._digests = ExpectedDigests(self._request)
        try:
            try:
                self._open(at_once=at_once)
            except ParentMissing:
                if not makes_directories(self._path):
                    raise
                self._guard.check(None)
                make_parents(self._writing.tree, self._path)
                self._open(at_once=at_once)
        except WriteError as error:
            raise self._error(error) from None

    def _open(self, *, at_once: bool) -> None:
        """Open the file. What is asked last are the preconditions (RFC 9110 section 13.2.1)."""
        size = announced_size(self._request)
        self._file = self._target.storage.begin(
            self._target.path,
            size,
            self._digests.algorithms,
            self._guard.check,
            at_once=at_once,
        )
        self._is_open = True

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises HttpError."""
        try:
            self._file.write(data)
        except WriteError as error:
            raise self._error(error) from None

    def respond(self) -> Response:
        """Give the file its name, unless its digest is another one. Raises HttpError."""
        if algorithm := self._digests.find_mismatch(self._file.digests()):
            detail = f"The body has another {algorithm} digest. Nothing was changed."
            return problem_response(HttpError(400, detail))
        try:
            written = self._file.commit(self._guard.check, "replace")
        except WriteError as error:
            raise self._error(error) from None
        self._writing.digests.add(written.status, written.digests)
        # The bytes are stored as they were sent, so the tag may be told (RFC 9110 section 9.3.4).
        headers: Headers = (("ETag", validator_of(written.status).etag),)
        return Response(201, headers, length=0) if written.is_new else Response(204, headers)

    def close(self) -> None:
        """Release the file; if it has no name yet, nothing of it stays."""
        if self._is_open:
            self._file.abort()

    def _error(self, error: WriteError) -> HttpError:
        if isinstance(error, IsDirectory | AddOnly):
            context = self._context._replace(may_wait=True)
            return self._writing.not_allowed(self._request, context, error.detail)
        return http_error(error)


class _Guard:
    """Decides whether a path may get a new content, by what is there now."""

    def __init__(self, target: Target, conditions: Conditions) -> None:
        self._mode = target.mode
        self._conditions = conditions

    def check(self, status: os.stat_result | None) -> None:
        """Raise IsDirectory, AddOnly, or HttpError 412."""
        if status and stat.S_ISDIR(status.st_mode):
            raise IsDirectory
        if status and self._mode == "add":
            raise AddOnly
        self._conditions.check(status)


def _check_message(request: Request, path: TargetPath) -> None:
    """Raise HttpError for a request that is not about the whole of one file."""
    if path.is_directory:
        raise HttpError(409, "A path that ends with a slash is that of a folder, not of a file.")
    check_is_whole(request)
