"""POST of a form with files into a folder (multipart/form-data, RFC 7578)."""

from aserve.filesystem.writing.errors import Busy, NoSpace, StorageFailed, WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.upload_folder import (
    Upload,
    UploadFolder,
    rejection,
    upload_error,
)
from aserve.handlers.writing.upload_result import Outcome, Stored, upload_response
from aserve.http.form_parser import MAX_FIELD_SIZE, FormEvent, FormParser, FormPart
from aserve.http.messages import HttpError, Request, Response

UNLIMITED = 1 << 62
"""Bytes of a whole form: what is limited are its files."""

_FATAL = (NoSpace, Busy, StorageFailed)


class FormSink:
    """Stores the files of a form, each whole or not at all, as soon as it is complete.

    A file that is rejected is passed over, and the others are stored: the response says which.
    Where the form itself breaks, or the disk is full, the files before it stay; a client that is
    told how many there are can send the others.
    """

    may_wait = True
    max_size = UNLIMITED

    def __init__(
        self, folder: UploadFolder, boundary: str, request: Request, context: RequestContext
    ) -> None:
        self._folder = folder
        self._parser = FormParser(boundary)
        self._request = request
        self._context = context
        self._outcomes: list[Outcome] = []
        self._name = ""
        self._upload: Upload | None = None
        self._discarded = 0  # bytes of the part, if they are not stored

    def begin(self) -> None:
        """Check that the folder is there. Raises HttpError."""
        self._folder.prepare(self._request, self._context)

    def write(self, data: bytes) -> None:
        """Store what is in the next bytes. Raises HttpError."""
        try:
            for event in self._parser.feed(data):
                self._handle(event)
        except HttpError as error:
            raise self._with_count(error) from None

    def _handle(self, event: FormEvent) -> None:
        if isinstance(event, FormPart):
            self._begin_part(event)
        elif event is not None:
            self._receive(event)
        elif self._upload:
            self._end_file(self._upload)

    def _begin_part(self, part: FormPart) -> None:
        self._discarded = 0
        self._name = part.filename or ""
        if not part.filename:
            return  # another field, or one in which no file was chosen
        try:
            self._upload = self._folder.begin(part.filename)
        except (HttpError, WriteError) as error:
            self._reject(error)

    def _receive(self, data: bytes) -> None:
        if self._upload is None:
            self._discard(len(data))
            return
        try:
            self._upload.write(data)
        except WriteError as error:
            self._reject(error)

    def _discard(self, size: int) -> None:
        """Pass over bytes of a file that was rejected, or of a field that is no file."""
        self._discarded += size
        if not self._name and self._discarded > MAX_FIELD_SIZE:
            raise HttpError(413, "A field of the form that is no file is too long.", close=True)

    def _end_file(self, upload: Upload) -> None:
        try:
            self._outcomes.append(upload.commit())
        except WriteError as error:
            self._reject(error)
        self._upload = None

    def _reject(self, error: HttpError | WriteError) -> None:
        self._upload = None
        if isinstance(error, _FATAL):
            reason = upload_error(error)
            raise HttpError(reason.status, reason.detail, reason.headers, close=True)
        self._outcomes.append(rejection(self._name, error))

    def _with_count(self, error: HttpError) -> HttpError:
        """Return an error that ends the form, with the number of files that are stored."""
        number = sum(isinstance(one, Stored) for one in self._outcomes)
        if not number:
            return error
        files = "file before it is" if number == 1 else f"{number} files before it are"
        detail = f"{error.detail} The {files} stored."
        return HttpError(error.status, detail, error.headers, close=error.close)

    def respond(self) -> Response:
        """Return what became of each file. Raises HttpError where the form is not complete."""
        try:
            self._parser.finish()
        except HttpError as error:
            raise self._with_count(error) from None
        if not self._outcomes:
            raise HttpError(400, "The form has no file.")
        return upload_response(self._request, self._folder.path, self._outcomes, is_form=True)

    def close(self) -> None:
        """Release the file that is not complete: nothing of it stays."""
        if self._upload:
            self._upload.abort()
