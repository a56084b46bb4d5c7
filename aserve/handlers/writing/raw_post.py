"""POST of one file into a folder: the body is the file, as it is."""

from aserve.filesystem.writing.errors import WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.body import StoringSink, announced_size, check_is_whole
from aserve.handlers.writing.digests import ExpectedDigests
from aserve.handlers.writing.upload_folder import Upload, UploadFolder, upload_error
from aserve.handlers.writing.upload_result import upload_response
from aserve.http.content_disposition import parse_filename
from aserve.http.error_pages import problem_response
from aserve.http.messages import HttpError, Request, Response


class RawSink(StoringSink):
    """Stores a body as one file. Its name is in the query, or else in Content-Disposition."""

    may_wait = True
    _upload: Upload
    """Set by begin; without _is_open there is none."""

    def __init__(
        self, folder: UploadFolder, max_size: int, request: Request, context: RequestContext
    ) -> None:
        self.max_size = max_size
        self._folder = folder
        self._request = request
        self._context = context
        self._digests = ExpectedDigests(request)
        self._is_open = False

    def _begin(self, *, at_once: bool) -> None:
        check_is_whole(self._request)
        name = self._name()
        self._folder.prepare(self._request, self._context)
        try:
            size = announced_size(self._request)
            self._upload = self._folder.begin(name, size, self._digests.algorithms, at_once=at_once)
        except (HttpError, WriteError) as error:
            raise self._error(error) from None
        self._is_open = True

    def _name(self) -> str:
        *_, name = self._folder.parameters.get("name", [""])
        name = name or parse_filename(self._request.header("content-disposition") or "")
        if not name:
            raise HttpError(
                400, "The file has no name: say it as ?name= or in Content-Disposition.", close=True
            )
        return name

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises HttpError."""
        try:
            self._upload.write(data)
        except WriteError as error:
            raise self._error(error) from None

    def respond(self) -> Response:
        """Give the file its name, unless its digest is another one. Raises HttpError."""
        if algorithm := self._digests.find_mismatch(self._upload.digests()):
            detail = f"The body has another {algorithm} digest. Nothing was changed."
            return problem_response(HttpError(400, detail))
        try:
            outcome = self._upload.commit()
        except WriteError as error:
            raise upload_error(error) from None
        return upload_response(self._request, self._folder.path, [outcome], is_form=False)

    def close(self) -> None:
        """Release the file; if it has no name yet, nothing of it stays."""
        if self._is_open:
            self._upload.abort()

    @staticmethod
    def _error(error: HttpError | WriteError) -> HttpError:
        """Return an error while the body is not read: its bytes are no request."""
        reason = upload_error(error)
        return HttpError(reason.status, reason.detail, reason.headers, close=True)
