"""Files of which some directories are not listed: nothing above them tells what is in them."""

from collections.abc import Callable, Iterator, Sequence

from aserve.filesystem.directory import FileSystem
from aserve.http.request_target import TargetPath
from aserve.http.resources import Entry, Resource

IsListed = Callable[[bytes], bool]
"""Tells whether a directory is listed, by its path with a slash at both ends."""


class ListedFileSystem:
    """The same files, but searches and archives do not enter directories that are not listed.

    Those are found all the same, and so is what is in them by its name.
    """

    def __init__(self, files: FileSystem, is_listed: IsListed) -> None:
        self._files = files
        self._is_listed = is_listed

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        """Return the resource at a path, as FileSystem says."""
        return self._files.find(path, wait=wait)

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        """Return the visible entries of a directory, as FileSystem says."""
        return self._files.entries(path)

    def entry(self, path: TargetPath) -> Entry:
        """Return what a path leads to, as FileSystem says."""
        return self._files.entry(path)

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        """Yield every visible entry below a directory, as FileSystem says."""
        start = path.segments
        if not self._is_listed(directory_path(start)):
            return
        closed: tuple[bytes, ...] | None = None
        for names, entry in self._files.walk(path):
            if closed and names[: len(closed)] == closed:
                continue
            yield names, entry
            is_open = not entry.is_directory or self._is_listed(directory_path((*start, *names)))
            closed = None if is_open else names


def directory_path(names: Sequence[bytes]) -> bytes:
    """Return the path of a directory, with a slash at both ends."""
    return b"/" + b"".join(name + b"/" for name in names)
