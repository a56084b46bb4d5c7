"""Which methods a path has, as its Allow header says: what is there decides."""

import os
import stat
from collections.abc import Sequence

from aserve.filesystem.writing.errors import ParentMissing, WriteError
from aserve.handlers.handler import RequestContext
from aserve.handlers.writing.areas import WriteMode
from aserve.handlers.writing.tree import WritableTree
from aserve.http.messages import HttpError, Request
from aserve.http.origins import is_preflight
from aserve.http.request_target import TargetPath, parse_path

_FOR_A_NEW_NAME = ("PUT", "MKCOL")
_FOR_A_FILE: dict[WriteMode, tuple[str, ...]] = {"all": ("PUT", "DELETE", "MOVE"), "add": ()}
_FOR_A_DIRECTORY: dict[WriteMode, tuple[str, ...]] = {"all": ("DELETE", "MOVE"), "add": ()}


class AllowedMethods:
    """The methods of each path of a site that can be written to.

    everywhere: those that any path has. writing: all others that are enabled. tells_pages_all:
    whether a page that asks what it may do is told all of them: browsers ask that without the
    login (WHATWG Fetch, 4.8), and what is there is told to no one who has none.
    """

    def __init__(
        self,
        tree: WritableTree,
        everywhere: Sequence[str],
        writing: Sequence[str],
        *,
        decode_slashes: bool = False,
        tells_pages_all: bool = False,
    ) -> None:
        self._tree = tree
        self._everywhere = tuple(everywhere)
        self._writing = tuple(writing)
        self._decode_slashes = decode_slashes
        self._tells_pages_all = tells_pages_all

    def __call__(self, request: Request, context: RequestContext) -> Sequence[str]:
        """Return the methods that a request's target has now; all of them for "*".

        Raises BlockingIOError where context.may_wait is False and a disk has to be asked.
        """
        if request.target == "*" or (self._tells_pages_all and is_preflight(request)):
            return (*self._everywhere, *self._writing)
        try:
            path = parse_path(request.target, decode_slashes=self._decode_slashes)
        except HttpError:  # as to CONNECT, whose target is no path
            return self._everywhere
        found = self._find(path, context)
        return (*self._everywhere, *(name for name in self._writing if name in found))

    def _find(self, path: TargetPath, context: RequestContext) -> Sequence[str]:
        """Return the methods that write to a path."""
        target, may_add = self._tree.find(path), self._tree.may_add_to(path)
        post = ("POST",) if may_add else ()
        if target is None:
            return post  # to the top of what may be written to, which is a directory
        if not context.may_wait:
            raise BlockingIOError
        try:
            status = target.storage.status(target.path)
        except ParentMissing:  # PUT can make the directories on its path
            return _FOR_A_NEW_NAME
        except WriteError:
            return ()
        return _methods_of(status, target.mode, post)


def _methods_of(
    status: os.stat_result | None, mode: WriteMode, post: tuple[str, ...]
) -> tuple[str, ...]:
    if status is None:
        return _FOR_A_NEW_NAME
    if stat.S_ISDIR(status.st_mode):
        return (*post, *_FOR_A_DIRECTORY[mode])
    return _FOR_A_FILE[mode] if stat.S_ISREG(status.st_mode) else ()


def not_allowed(methods: Sequence[str], detail: str) -> HttpError:
    """Return the response to a method that a path does not have (RFC 9110 section 15.5.6)."""
    return HttpError(405, detail, (("Allow", ", ".join(methods)),))
