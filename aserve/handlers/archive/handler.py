"""Answers ?archive=FORMAT: a directory, or some of what is in it, as one file to save."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from weakref import WeakSet

from aserve.filesystem.directory import FileSystem
from aserve.filesystem.steps import turns
from aserve.handlers.archive.checksums import ChecksumCache
from aserve.handlers.archive.contents import FileContents
from aserve.handlers.archive.formats import (
    FORMATS,
    MAX_BYTES,
    MAX_FILES,
    NEEDS_ZSTD,
    MakeCompressor,
    compress,
    is_available,
)
from aserve.handlers.archive.layout import Contents, Layout
from aserve.handlers.archive.manifest import ManifestReader
from aserve.handlers.handler import RequestContext
from aserve.handlers.representation import respond_with_representation
from aserve.http.content_disposition import attachment
from aserve.http.messages import (
    NOSNIFF,
    BodyPart,
    BodyStream,
    FileSlice,
    HttpError,
    Request,
    Response,
)
from aserve.http.query import parse_parameters
from aserve.http.request_target import TargetPath
from aserve.http.resources import UNKNOWN_LENGTH, UNKNOWN_TIME, Representation, Validator

_MAX_MEMBERS = 1_000_000  # of all archives in progress; each takes about 70 bytes and its path

_ROOT_NAME = b"files"  # the name of the root itself is not told
_NOT_A_NAME = frozenset({b"", b".", b".."})


class Archives:
    """Makes archives of the directories of a site.

    formats: the names of those on offer, of FORMATS; none: there are no archives. max_bytes: of the
    files of one archive. max_files: how many files and directories it may have.
    """

    def __init__(
        self,
        files: FileSystem,
        formats: Sequence[str] = tuple(FORMATS),
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
    ) -> None:
        self.formats = tuple(filter(is_available, formats))
        """The names of the formats that are on offer here."""
        self._files = files
        self._reader = ManifestReader(files, max_bytes, max_files)
        self._checksums = ChecksumCache()
        self._sending = _ArchivesInProgress()

    def respond(
        self, request: Request, context: RequestContext, directory: TargetPath
    ) -> Response | None:
        """Return a directory as the archive that its query asks for; None if it asks for none.

        Raises HttpError: 400 for a bad value, 403 for what is not on offer, 404 for a name that is
        not there, 413 for more than the limits, 503 where archives in progress hold much memory.
        """
        if "archive" not in directory.query:
            return None
        parameters = parse_parameters(directory.query)
        if "archive" not in parameters:
            return None
        form = parameters["archive"][-1]
        self._check_format(form)
        names = _checked_names(map(os.fsencode, parameters.get("name", ())))
        if not context.may_wait:
            raise BlockingIOError
        with turns:
            return self._archive(request, context.now, directory, form, names)

    def _check_format(self, name: str) -> None:
        if name not in FORMATS:
            raise HttpError(400, f"The parameter archive must be one of {', '.join(FORMATS)}.")
        if not self.formats:
            raise HttpError(403, "There are no archives here.")
        if name not in self.formats:
            reason = "" if is_available(name) else f": {NEEDS_ZSTD}"
            offer = ", ".join(self.formats)
            raise HttpError(403, f"This format is not on offer here{reason}. There is {offer}.")

    def _archive(
        self,
        request: Request,
        now: int,
        directory: TargetPath,
        form: str,
        names: Sequence[bytes],
    ) -> Response:
        folder = directory.segments[-1] if directory.segments else _ROOT_NAME
        manifest = self._reader.read(directory, folder, names)
        media_type, make_layout, compressor = FORMATS[form]
        layout = make_layout(manifest.members)
        contents = FileContents(
            self._files,
            directory,
            manifest,
            self._checksums,
            has_checksums=layout.has_checksums,
        )
        source = _Archive(layout, contents, compressor, len(manifest.members))
        validator = Validator(manifest.etag(form), UNKNOWN_TIME)
        whole = Representation(media_type, source.length, validator, source)
        response = respond_with_representation(request, whole, (), b"", now)
        if response.status == 304:
            return response
        disposition = ("Content-Disposition", attachment(folder + b"." + form.encode()))
        headers = (*response.headers, disposition, NOSNIFF)
        if request.method == "HEAD":
            return response.with_headers(headers, ())
        self._sending.add(source)
        return response.with_headers(headers, (BodyStream(_pieces(response.body)),))


def _checked_names(names: Iterable[bytes]) -> Sequence[bytes]:
    """Return the names of a selection, if each can be a name in a directory."""
    names = tuple(names)
    if any(name in _NOT_A_NAME or b"/" in name or b"\0" in name for name in names):
        raise HttpError(400, "The parameter name must be the name of a file or a directory here.")
    return names


class _Archive:
    """The bytes of an archive, which are made when they are read."""

    is_local = False

    def __init__(
        self, layout: Layout, contents: Contents, compressor: MakeCompressor, count: int
    ) -> None:
        self.count = count
        """How many members there are."""
        self._layout = layout
        self._contents = contents
        self._make_compressor = compressor
        self.length = UNKNOWN_LENGTH if compressor else layout.length

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes [start, stop); all of them if they are compressed."""
        if not self._make_compressor:
            return self._layout.pieces(self._contents, start, stop)
        pieces = self._layout.pieces(self._contents, 0, self._layout.length)
        return compress(pieces, self._make_compressor())

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return b"".join(self.pieces(start, stop))

    def is_in_page_cache(self, start: int, stop: int) -> bool:  # noqa: ARG002 - ByteSource
        """Return False: there are files to be opened."""
        return False

    def is_unchanged(self) -> bool:
        """Return True: a file that has changed makes its reading fail."""
        return True

    def fileno(self) -> int:
        """Raise OSError: there is no descriptor."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def close(self) -> None:
        """Do nothing: no file is open between two reads."""


class _ArchivesInProgress:
    """Bounds what the archives hold together that are being sent. It is thread-safe.

    An archive is in progress as long as its stream refers to it.
    """

    def __init__(self) -> None:
        self._archives: WeakSet[_Archive] = WeakSet()
        self._lock = Lock()

    def add(self, archive: _Archive) -> None:
        """Add an archive. Raises HttpError 503 if others leave no room for its members."""
        with self._lock:
            held = sum(other.count for other in self._archives)
            if held and held + archive.count > _MAX_MEMBERS:
                raise HttpError(503, "Many large archives are being sent. Try again in a moment.")
            self._archives.add(archive)


def _pieces(parts: Iterable[BodyPart]) -> Iterator[bytes]:
    """Yield the parts of a response, several if there are several ranges."""
    for part in parts:
        if isinstance(part, FileSlice) and isinstance(part.source, _Archive):
            yield from part.source.pieces(part.start, part.stop)
        elif isinstance(part, bytes):
            yield part
