"""The directories on the path of a new file, where a request asks for them."""

from urllib.parse import parse_qs

from aserve.filesystem.writing.errors import Exists
from aserve.handlers.writing.tree import WritableTree
from aserve.http.request_target import TargetPath


def makes_directories(path: TargetPath) -> bool:
    """Tell whether a request asks for the directories on its path: by ?mkdir=1."""
    return parse_qs(path.query.removeprefix("?")).get("mkdir") == ["1"]


def make_parents(tree: WritableTree, path: TargetPath) -> None:
    """Make the directories on a path that are missing, as far as they may be made.

    Raises WriteError; ParentMissing where one may not be made.
    """
    for depth in range(1, len(path.segments)):
        target = tree.find(path._replace(segments=path.segments[:depth], is_directory=True))
        if target:
            try:
                target.storage.make_directory(target.path)
            except Exists:
                continue
