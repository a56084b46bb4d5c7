"""README and HEADER of directories, read and rendered when they have changed."""

from collections import OrderedDict
from collections.abc import Sequence

from aserve.filesystem.directory import FileSystem
from aserve.handlers.listing.folder_text import (
    HEADER_NAMES,
    MAX_TEXT_SIZE,
    README_NAMES,
    UNREADABLE,
    find_text,
    render_text,
)
from aserve.handlers.listing.model import FolderText
from aserve.http.messages import HttpError
from aserve.http.request_target import TargetPath
from aserve.http.resources import Document

_MAX_KEPT = 32

# Seconds since the last change of a file: a younger one may change again without a new tag.
_MIN_AGE = 2


class TextReader:
    """Reads the texts that are shown with a directory. Any thread may use it."""

    def __init__(self, files: FileSystem) -> None:
        self._files = files
        self._kept: OrderedDict[tuple[str, bytes], FolderText] = OrderedDict()

    def find(
        self, directory: TargetPath, names: Sequence[bytes], now: int
    ) -> tuple[FolderText | None, FolderText | None]:
        """Return HEADER and README of a directory; None for what cannot be read.

        names: those of its files, in natural order. now: POSIX time in seconds.
        """
        header, readme = (
            self._text(directory, find_text(wanted, names), now)
            for wanted in (HEADER_NAMES, README_NAMES)
        )
        return header, readme

    def _text(self, directory: TargetPath, name: bytes | None, now: int) -> FolderText | None:
        if name is None:
            return None
        path = TargetPath((*directory.segments, name), is_directory=False)
        try:
            document = self._files.find(path, wait=True)
        except HttpError:
            return None
        return self._render(name, document, now) if isinstance(document, Document) else None

    def _render(self, name: bytes, document: Document, now: int) -> FolderText:
        """Return the text of a file, whose entity tag tells whether it is one that is kept."""
        plain = document.representations[0]
        key = plain.validator.etag, name
        text = self._kept.get(key)
        if text is None:
            try:
                data = plain.source.read(0, min(plain.length, MAX_TEXT_SIZE + 1))
            except OSError:  # a disk that fails takes nothing from the entries
                return FolderText(name, UNREADABLE)
            text = render_text(name, data)
            changed = plain.validator.changed
            if changed is not None and changed + _MIN_AGE <= now:
                self._kept[key] = text
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return text
