"""The directory that files are uploaded into by POST: which names they get there, and when not."""

import stat
from collections.abc import Iterable, Mapping
from typing import get_args

from aserve.filesystem.writing.errors import (
    AddOnly,
    Exists,
    IsDirectory,
    NotWritable,
    ParentMissing,
    WriteError,
)
from aserve.filesystem.writing.new_file import Conflict, NewFile
from aserve.filesystem.writing.rules import allow
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.errors import http_error
from aserve.handlers.writing.parents import make_parents, makes_directories
from aserve.handlers.writing.tree import Target
from aserve.handlers.writing.upload_names import upload_name
from aserve.handlers.writing.upload_result import Rejected, Stored
from aserve.handlers.writing.writing import Writing
from aserve.http.messages import HttpError, Request
from aserve.http.query import parse_parameters
from aserve.http.request_target import TargetPath

_CONFLICTS: Mapping[str, Conflict] = {name: name for name in get_args(Conflict)}


class Upload:
    """One file on its way into a folder."""

    def __init__(self, name: str, folder: TargetPath, file: NewFile, conflict: Conflict) -> None:
        self._name = name
        self._folder = folder
        self._file = file
        self._conflict = conflict

    def write(self, data: bytes) -> None:
        """Store the next bytes. Raises WriteError."""
        self._file.write(data)

    def digests(self) -> Mapping[str, bytes]:
        """Return the digests of what was written, of the algorithms that were asked for."""
        return self._file.digests()

    def commit(self) -> Stored:
        """Give the file its name. Raises WriteError."""
        return Stored.of(self._name, self._file.commit(allow, self._conflict), self._folder)

    def abort(self) -> None:
        """Give the space back, unless the file has its name."""
        self._file.abort()


class UploadFolder:
    """A directory of a site that names may be added to.

    path: of the site. on_conflict: what is done where a name is taken, unless the query says it.
    Raises HttpError 400 for a query that says something else.
    """

    def __init__(self, writing: Writing, path: TargetPath, on_conflict: str) -> None:
        self.path = path
        self.parameters = parse_parameters(path.query)
        self._writing = writing
        self._conflict = self._asked_conflict(on_conflict)

    def _asked_conflict(self, default: str) -> Conflict:
        *_, asked = self.parameters.get("on_conflict", [default])
        if asked not in _CONFLICTS:
            names = ", ".join(_CONFLICTS)
            raise HttpError(400, f"The parameter on_conflict must be one of {names}.", close=True)
        return _CONFLICTS[asked]

    def prepare(self, request: Request, context: RequestContext) -> None:
        """Make the directory if the query asks for that. Raises HttpError where there is none."""
        target = self._writing.tree.find(self.path)
        if target is None:
            return  # the top of what can be written to
        try:
            if makes_directories(self.path):
                make_parents(self._writing.tree, self._child(b"-"))
            status = target.storage.status(target.path)
        except WriteError as error:
            raise http_error(error) from None
        if status is None:
            raise http_error(ParentMissing())
        if not stat.S_ISDIR(status.st_mode):
            raise self._writing.not_allowed(request, context, "Files can only be added to folders.")

    def begin(
        self,
        name: str,
        size: int | None = None,
        algorithms: Iterable[str] = (),
        *,
        at_once: bool = False,
    ) -> Upload:
        """Return a new file of a name. Raises HttpError or WriteError.

        name: as the client says it. size: in bytes, None where it is not known. algorithms: of the
        digests that are wanted. at_once: as for Storage.begin.
        """
        target, conflict = self.place(name)
        file = target.storage.begin(target.path, size, algorithms, at_once=at_once)
        return Upload(name, self.path, file, conflict)

    def place(self, name: str) -> tuple[Target, Conflict]:
        """Return where a file of a name is to be stored, and what is done if the name is taken.

        Raises as begin does; Exists if it is taken already and that is an error.
        """
        target = self._target(upload_name(name))
        conflict = self._conflict
        if conflict == "replace" and target.mode == "add":
            conflict = "error"
        if conflict == "error" and target.storage.status(target.path):
            raise Exists
        return target, conflict

    def _target(self, name: bytes) -> Target:
        if target := self._writing.tree.find(self._child(name)):
            return target
        raise NotWritable

    def _child(self, name: bytes) -> TargetPath:
        return TargetPath((*self.path.segments, name), is_directory=False)


def rejection(name: str, error: HttpError | WriteError) -> Rejected:
    """Return why a file was not stored."""
    reason = upload_error(error)
    return Rejected(name, reason.status, reason.detail)


def upload_error(error: HttpError | WriteError) -> HttpError:
    """Return why a file was not stored as an error of HTTP.

    The method is allowed, so a name that cannot be had is a conflict and no 405.
    """
    if isinstance(error, HttpError):
        return error
    if isinstance(error, IsDirectory | AddOnly):
        return HttpError(409, error.detail)
    return http_error(error)
