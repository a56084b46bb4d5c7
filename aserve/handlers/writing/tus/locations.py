"""Where an upload is on the site: below the folder that its file will be in.

/in/.aserve/tus/TOKEN is an upload into /in/. So whatever is said of a folder, by paths, is said of
uploads into it; and no file is at such a path, since its names are hidden.
"""

import re
from typing import NamedTuple

from aserve.handlers.handler import UPLOADS
from aserve.http.request_target import TargetPath

MARKER = UPLOADS.decode()
"""What each target of an upload has in it."""

_NAMES = (b".aserve", b"tus")
_TOKEN = re.compile(rb"[A-Za-z0-9_-]+")


class Location(NamedTuple):
    """Where an upload is. folder: of the site."""

    folder: TargetPath
    token: str

    @property
    def path(self) -> TargetPath:
        """The path of the upload itself."""
        names = (*self.folder.segments, *_NAMES, self.token.encode())
        return TargetPath(names, is_directory=False)


def location_of(path: TargetPath) -> Location | None:
    """Return which upload a path is of; None if it can be of none."""
    *folder, token = path.segments or (b"",)
    if tuple(folder[-2:]) != _NAMES or not _TOKEN.fullmatch(token) or path.is_directory:
        return None
    return Location(TargetPath(tuple(folder[:-2]), is_directory=True), token.decode())
