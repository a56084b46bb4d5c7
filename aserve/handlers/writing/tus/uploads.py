"""The uploads of a site that have begun: found by where they are, one writer at a time."""

import os
import threading
from collections import OrderedDict
from typing import NamedTuple, Protocol

from aserve.filesystem.writing.errors import Hidden, Missing, ParentMissing
from aserve.filesystem.writing.new_file import Conflict
from aserve.filesystem.writing.partial_files import PartialFile
from aserve.handlers.writing.tree import WritableTree
from aserve.handlers.writing.tus.locations import Location
from aserve.handlers.writing.tus.protocol import NO_STORE, RESUMABLE
from aserve.http.dates import format_date
from aserve.http.messages import Headers
from aserve.http.request_target import TargetPath

CONFLICT, METADATA, VERIFIED = "on_conflict", "upload-metadata", "verified"
"""What is stored with an upload: what is done at its end if the name is taken, the header of its
creation, and how many bytes had a checksum that was right: those behind them do not count."""

_MAX_ENDED = 10_000

_ON_CONFLICT: dict[str, Conflict] = {"replace": "replace", "rename": "rename"}


class Ended(NamedTuple):
    """An upload that is complete. size: in bytes. file: the path of its file, for a URL."""

    size: int
    file: str

    def headers(self) -> Headers:
        """Return what a response tells of it."""
        return (
            RESUMABLE,
            NO_STORE,
            ("Upload-Offset", str(self.size)),
            ("Content-Location", self.file),
        )


class Writer(Protocol):
    """A request that adds to an upload."""

    def interrupt(self) -> None:
        """Add nothing more, and close the upload. May wait for a disk; called by any thread."""


class Uploads:
    """The uploads into the directories of a tree. Methods may wait, and raise WriteError."""

    def __init__(self, tree: WritableTree) -> None:
        self._tree = tree
        self._writers: dict[str, Writer] = {}
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._lock = threading.Lock()  # for both

    def open(self, location: Location, *, adds: bool = True) -> PartialFile:
        """Return an upload that is not complete. adds: as for Storage.resume.

        Another request of this process that writes to it is interrupted: its client has asked
        anew, so it has given that one up, although its connection may look alive for a while. What
        it has sent counts. Raises Missing, and OtherWriter where another process writes to it.
        """
        self._interrupt_writer(location.token)
        name = TargetPath((*location.folder.segments, location.token.encode()), is_directory=False)
        target = self._tree.find(name)
        if target is None:
            raise Missing
        directory = target.path._replace(segments=target.path.segments[:-1], is_directory=True)
        try:
            file = target.storage.resume(directory, location.token, adds=adds)
        except (Hidden, ParentMissing):
            raise Missing from None
        verified = file.state.metadata.get(VERIFIED)
        if verified is not None and int(verified) < file.size:
            file.truncate(int(verified))
        return file

    def _interrupt_writer(self, token: str) -> None:
        with self._lock:
            writer = self._writers.get(token)
        if writer:
            writer.interrupt()

    def add_writer(self, token: str, writer: Writer) -> None:
        """Let a request be interrupted by the next one for the same upload."""
        with self._lock:
            self._writers[token] = writer

    def remove_writer(self, token: str, writer: Writer) -> None:
        """Forget a request that has ended."""
        with self._lock:
            if self._writers.get(token) is writer:
                del self._writers[token]

    def find_ended(self, token: str) -> Ended | None:
        """Return an upload that has become a file.

        A client whose last response was lost asks for it again. This process remembers the last
        ones; the file itself tells the others.
        """
        with self._lock:
            return self._ended.get(token)

    def store(self, location: Location, file: PartialFile) -> Headers:
        """Have what has arrived on the disk, and return what a response tells of the upload.

        If that is all of the file, it gets its name, by the rule that its creation has set. It is
        closed then, so that it is free for the next request once the response is there.
        """
        try:
            if file.size == file.state.size:
                return self._complete(location, file)
            file.sync()
            return progress(file)
        finally:
            file.abort()

    def _complete(self, location: Location, file: PartialFile) -> Headers:
        conflict = _ON_CONFLICT.get(file.state.metadata.get(CONFLICT, ""), "error")
        written = file.commit(_allow, conflict)
        names = (*location.folder.segments, written.path.segments[-1])
        ended = Ended(written.status.st_size, TargetPath(names, is_directory=False).location())
        with self._lock:
            self._ended[location.token] = ended
            if len(self._ended) > _MAX_ENDED:
                self._ended.popitem(last=False)
        return ended.headers()


def progress(file: PartialFile) -> Headers:
    """Return what a response tells of an upload that is not complete."""
    expires = format_date(int(file.expires_at()))
    offset = str(file.size)
    return RESUMABLE, NO_STORE, ("Upload-Offset", offset), ("Upload-Expires", expires)


def _allow(status: os.stat_result | None) -> None:
    """Let the file have its name: an upload has no preconditions."""
