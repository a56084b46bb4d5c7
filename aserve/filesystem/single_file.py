"""One file, wherever it is: nothing else of its directory is served."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from aserve.filesystem.entries import entry_of
from aserve.filesystem.errors import http_error
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.filesystem.open_beneath import open_directory, open_file
from aserve.filesystem.opened_file import MakeValidator, OpenFile, representation_of
from aserve.http.media_types import MediaTypes
from aserve.http.messages import NotFound
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document, DocumentEncoder, Entry
from aserve.linux.statx import file_id

Found = tuple[tuple[bytes, ...], Entry]
"""What a walk finds."""


class SingleFile:
    """A file system that has one file, at its root, which is looked up with each request.

    Links to it are followed wherever they lead: its owner has named it. It has no
    compressed siblings. name: the last one in its URL, which decides its media type. encoder:
    compresses it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that decides how it is sent
        self,
        path: Path,
        name: bytes,
        mounts: Mounts,
        media_types: MediaTypes,
        make_validator: MakeValidator | None = None,
        encoder: DocumentEncoder | None = None,
    ) -> None:
        self._path = os.fsencode(path)
        self._make_validator = make_validator
        self._encoder = encoder
        self._media_type = media_types.for_name(name)
        self._mounts = mounts

    def find(self, path: TargetPath, *, wait: bool) -> Document:
        """Return the file, as FileSystem says."""
        if path.segments or path.is_directory:
            raise NotFound
        try:
            return self._document(self._open(wait=wait), wait=wait)
        except OSError as error:
            if not wait and isinstance(error, BlockingIOError):
                raise
            raise http_error(error, (self._path,)) from None

    def entries(self, path: TargetPath) -> Sequence[Entry]:  # noqa: ARG002 - FileSystem
        """Raise HttpError: a file is no directory."""
        raise NotFound

    def entry(self, path: TargetPath) -> Entry:
        """Return the file, as FileSystem says. Its name is not known here."""
        if path.segments:
            raise NotFound
        try:
            found = entry_of(b"", os.stat(self._path))
        except OSError as error:
            raise http_error(error) from None
        if found is None or found.is_directory:
            raise NotFound
        return found

    def walk(self, path: TargetPath) -> Iterator[Found]:  # noqa: ARG002 - FileSystem
        """Raise HttpError: a file is no directory."""
        raise NotFound

    def _open(self, *, wait: bool) -> int:
        directory = open_directory(os.path.dirname(self._path), wait=wait)
        try:
            if not wait and not self._is_local(file_id(directory)[0]):
                raise BlockingIOError  # a network, or another program (FUSE), takes time
            return open_file(directory, os.path.basename(self._path), wait=wait)
        finally:
            os.close(directory)

    def _document(self, descriptor: int, *, wait: bool) -> Document:
        try:
            status = os.fstat(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        is_local = self._is_local(status.st_dev)
        file = OpenFile(descriptor, status, wait=wait, local=is_local)
        if not stat.S_ISREG(status.st_mode):
            raise NotFound((self._path,))
        representation = representation_of(file, status, *self._media_type, self._make_validator)
        path = self._path if is_local else b""
        return Document((representation,), path, encoder=self._encoder)

    def _is_local(self, device: int) -> bool:
        return self._mounts.tracking_of(device) is not ChangeTracking.NONE
