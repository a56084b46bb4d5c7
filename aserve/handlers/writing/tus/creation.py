"""POST into a folder: an upload begins there, with its first bytes or without any."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aserve.filesystem.writing.errors import WriteError
from aserve.filesystem.writing.partial_files import PartialFile
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.tus.checksum import Checksum, parse_checksum
from aserve.handlers.writing.tus.locations import Location
from aserve.handlers.writing.tus.metadata import file_name, parse_metadata
from aserve.handlers.writing.tus.protocol import (
    check_media_type,
    check_version,
    checksum_mismatch,
    parse_size,
    tus_errors,
)
from aserve.handlers.writing.tus.uploads import CONFLICT, METADATA, Uploads
from aserve.handlers.writing.upload_folder import UploadFolder
from aserve.http.messages import HttpError, Request, Response


class CreationSink:
    """Begins one upload. Nothing of it stays unless its client is told where it is."""

    may_wait = True
    _file: PartialFile | None = None
    """Set by begin, until its client is told where it is."""

    def __init__(
        self,
        uploads: Uploads,
        folder: UploadFolder,
        max_size: int,
        request: Request,
        context: RequestContext,
    ) -> None:
        self.max_size = max_size
        self._uploads = uploads
        self._folder = folder
        self._request = request
        self._context = context._replace(may_wait=True)
        self._checksum: Checksum | None = None

    def begin(self) -> None:
        """Check what the client says of its file, and begin. Raises HttpError."""
        with tus_errors():
            check_version(self._request)
            if _has_body(self._request):
                check_media_type(self._request)
            size = _whole_size(self._request)
            self._checksum = parse_checksum(self._request)
            text = self._request.header("upload-metadata") or ""
            name = file_name(parse_metadata(text))
            self._folder.prepare(self._request, self._context)
            target, conflict = self._folder.place(name)
            metadata = {CONFLICT: conflict, METADATA: text}
            self._file = target.storage.begin_partial(target.path, size, metadata)

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises HttpError."""
        with tus_errors(), self._removed_on_error() as file:
            file.write(data)
            if self._checksum:
                self._checksum.update(data)

    def respond(self) -> Response:
        """Return where the upload is. Raises HttpError."""
        with tus_errors(), self._removed_on_error() as file:
            if self._checksum and not self._checksum.matches():
                raise checksum_mismatch()
            location = self._location(file)
            headers = self._uploads.store(location, file)
            self._file = None
            return Response(201, (*headers, ("Location", location.path.location())), length=0)

    @contextmanager
    def _removed_on_error(self) -> Iterator[PartialFile]:
        if self._file is None:
            raise RuntimeError("begin was not called, or has failed")
        try:
            yield self._file
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the upload, unless its client was told where it is."""
        file, self._file = self._file, None
        if file:
            file.abort()
            with suppress(WriteError):  # a sweep removes it
                self._uploads.open(self._location(file), adds=False).discard()

    def _location(self, file: PartialFile) -> Location:
        return Location(self._folder.path, file.token)


def _has_body(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or (
        "transfer-encoding" in request.headers
    )


def _whole_size(request: Request) -> int | None:
    """Return the size of the file in bytes, None if it is to be told later. Raises HttpError."""
    size, deferred = parse_size(request, "upload-length"), request.header("upload-defer-length")
    if request.header("upload-concat") is not None:
        raise HttpError(400, "Uploads cannot be concatenated here.")
    if (size is None) is (deferred is None) or deferred not in {None, "1"}:
        raise HttpError(400, "Either Upload-Length or Upload-Defer-Length: 1 must be there.")
    return size
