"""PATCH of an upload: more of its bytes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aserve.filesystem.writing.errors import Incomplete, Missing, OtherWriter
from aserve.filesystem.writing.partial_files import PartialFile
from aserve.handlers.writing.tus.checksum import Checksum, parse_checksum
from aserve.handlers.writing.tus.locations import Location
from aserve.handlers.writing.tus.protocol import (
    check_media_type,
    check_version,
    checksum_mismatch,
    parse_size,
    tus_errors,
)
from aserve.handlers.writing.tus.uploads import VERIFIED, Ended, Uploads
from aserve.http.integers import parse_decimal
from aserve.http.messages import HttpError, Request, Response

_INTERRUPTED = "Another request has gone on with this upload."


class PatchSink:
    """Adds one body to an upload. What has arrived stays if the client goes away.

    Except of a body with a checksum, which counts as a whole or not at all.
    """

    may_wait = True

    def __init__(
        self, uploads: Uploads, location: Location, max_size: int, request: Request
    ) -> None:
        self.max_size = max_size
        self._uploads = uploads
        self._location = location
        self._request = request
        self._file: PartialFile | None = None
        self._ended: Ended | None = None
        self._checksum: Checksum | None = None
        self._lock = threading.Lock()  # against interrupt, which another thread calls

    def begin(self) -> None:
        """Open the upload, if it ends where the body begins. Raises HttpError."""
        with tus_errors():
            check_version(self._request)
            check_media_type(self._request)
            offset = parse_size(self._request, "upload-offset")
            if offset is None:
                raise HttpError(400, "The header Upload-Offset is missing.")
            self._checksum = parse_checksum(self._request)
            try:
                file = self._uploads.open(self._location)
            except Missing:
                self._ended = self._uploads.find_ended(self._location.token)
                if self._ended is None:
                    raise
                _check_offset(offset, self._ended.size)
                return
            self._file = file
            self._uploads.add_writer(self._location.token, self)
            with self._closed_on_error(), self._lock:
                self._check(self._open_file(), offset)

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Have the upload free for the next request before the client knows of an error."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _check(self, file: PartialFile, offset: int) -> None:
        """Raise HttpError or WriteError unless the body can be added to a file."""
        _check_offset(offset, file.size)
        self._set_size(file)
        announced = parse_decimal(self._request.headers.get("content-length", "0")) or 0
        if file.state.size is not None and offset + announced > file.state.size:
            raise Incomplete
        self._mark_verified(file)

    def _set_size(self, file: PartialFile) -> None:
        size = parse_size(self._request, "upload-length")
        if size is None or size == file.state.size:
            return
        if file.state.size is not None:
            raise HttpError(400, "The header Upload-Length differs from what was said before.")
        file.set_size(size)

    def _mark_verified(self, file: PartialFile) -> None:
        """Have the bytes of this body count at once, or only from when they are verified."""
        verified = str(file.size) if self._checksum else None
        metadata = dict(file.state.metadata)
        if metadata.pop(VERIFIED, None) != verified:
            marked = metadata if verified is None else metadata | {VERIFIED: verified}
            file.set_metadata(marked)

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises HttpError."""
        with tus_errors(), self._lock:
            if self._ended:
                raise Incomplete
            self._open_file().write(data)
            if self._checksum:
                self._checksum.update(data)

    def respond(self) -> Response:
        """Return how much has arrived in all. Raises HttpError."""
        with tus_errors(), self._closed_on_error(), self._lock:
            if self._ended:
                return Response(204, self._ended.headers())
            file = self._open_file()
            if self._checksum and not self._checksum.matches():
                raise checksum_mismatch()
            self._mark_verified(file)
            return Response(204, self._uploads.store(self._location, file))

    def _open_file(self) -> PartialFile:
        if self._file is None:
            raise OtherWriter(_INTERRUPTED)
        return self._file

    def interrupt(self) -> None:
        """Add nothing more: another request goes on with the upload."""
        with self._lock:
            file, self._file = self._file, None
            if file:
                file.abort()

    def close(self) -> None:
        """Close the upload, and keep what has arrived."""
        self.interrupt()
        self._uploads.remove_writer(self._location.token, self)


def _check_offset(offset: int, expected: int) -> None:
    if offset != expected:
        detail = "The upload does not end where the body begins: HEAD tells where it ends."
        raise HttpError(409, detail, (("Upload-Offset", str(expected)),), close=True)
