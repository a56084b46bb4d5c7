"""POST: adds files to a folder, as a form or one as it is."""

from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.form import FormSink
from aserve.handlers.writing.raw_post import RawSink
from aserve.handlers.writing.upload_folder import UploadFolder
from aserve.handlers.writing.writing import Writing
from aserve.http.form_parser import form_boundary
from aserve.http.messages import BodySink, HttpError, Request, Response

_OTHER_FORM = "application/x-www-form-urlencoded"


class Post:
    """Answers POST. on_conflict: what is done where a name is taken, unless the query says it."""

    def __init__(self, writing: Writing, on_conflict: str) -> None:
        self._writing = writing
        self._on_conflict = on_conflict

    def accept_body(self, request: Request, context: RequestContext) -> BodySink | None:
        """Return what stores the body; None where nothing may be added, which handle says.

        Raises HttpError: 415 for a form without files, 400 for a query that says nothing known.
        """
        path = self._writing.path_of(request)
        if not self._writing.tree.may_add_to(path):
            return None
        folder = UploadFolder(self._writing, path, self._on_conflict)
        context = context._replace(may_wait=True)
        media_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if media_type.startswith("multipart/") or media_type == _OTHER_FORM:
            boundary = form_boundary(request.header("content-type") or "")
            return FormSink(folder, boundary, request, context)
        return RawSink(folder, self._writing.max_upload, request, context)

    def handle(self, request: Request, context: RequestContext) -> Response:
        """Reject a request whose body no sink has got."""
        if self._writing.tree.may_add_to(self._writing.path_of(request)):
            raise HttpError(411, "The length of the body is missing, and it is not in chunks.")
        raise self._writing.not_allowed(request, context, "Nothing can be added here.")
