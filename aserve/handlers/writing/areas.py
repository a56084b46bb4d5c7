"""Where a site can be written to: all of it, or only below some paths; and what may be done there.

Said as "/" for everything, "/in" for what is below that path, "add" and "add:/in" for new names
only, of which none is replaced or deleted.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from aserve.access.rights import View
from aserve.http.messages import HttpError
from aserve.http.request_target import parse_path

WriteMode = Literal["all", "add"]
"""Whether names may be replaced and deleted, or only be added."""

EVERYWHERE = "/"
"""The area that --write alone stands for."""

_ADD = "add"
_ADD_BELOW = "add:"


class WriteArea(NamedTuple):
    """What is below one path. path: its names, () for the root."""

    path: tuple[bytes, ...]
    mode: WriteMode

    def shown_path(self) -> str:
        """Return its path as it is in URLs, with a slash at the end."""
        return "/" + "".join(f"{name.decode(errors='replace')}/" for name in self.path)


class WriteAreas:
    """The areas of a site. Of those that a path is below, the one with the longest path decides."""

    def __init__(self, areas: Iterable[WriteArea]) -> None:
        self._modes = {area.path: area.mode for area in areas}

    def mode_in(self, directory: tuple[bytes, ...]) -> WriteMode | None:
        """Return what may be done to the entries of a directory, None for nothing."""
        for depth in range(len(directory), -1, -1):
            if mode := self._modes.get(directory[:depth]):
                return mode
        return None

    def protects_below(self, path: tuple[bytes, ...]) -> bool:
        """Tell whether at a path, or below it, is an area of which nothing may be deleted."""
        return any(
            mode == "add" and area[: len(path)] == path for area, mode in self._modes.items()
        )


class AreasInView(WriteAreas):
    """The same areas, as far as some users may write there.

    Where they may write but not read, names can only be added: what they replaced, moved or deleted
    would tell what is there.
    """

    def __init__(self, areas: Iterable[WriteArea], view: View) -> None:
        super().__init__(areas)
        self._view = view

    def mode_in(self, directory: tuple[bytes, ...]) -> WriteMode | None:
        """Return what these users may do to the entries of a directory, None for nothing."""
        mode, path = super().mode_in(directory), b"/" + b"/".join(directory)
        if mode is None or self._view.is_unwritable(path):
            return None
        return "add" if self._view.is_unreadable(path) else mode


def parse_area(text: str) -> WriteArea | None:
    """Return the area that a text names; None if it is none."""
    mode: WriteMode = "all"
    if text == _ADD or text.startswith(_ADD_BELOW):
        mode, text = "add", text.removeprefix(_ADD).removeprefix(":") or EVERYWHERE
    if not text.startswith("/") or "?" in text:
        return None
    try:
        return WriteArea(parse_path(text).segments, mode)
    except HttpError:
        return None
