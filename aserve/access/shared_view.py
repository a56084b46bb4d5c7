"""What a link to one file or folder shows of a site, also to those who may not read that."""

from collections.abc import Sequence

from aserve.access.rights import AccessRules, View
from aserve.http.content_negotiation import CODINGS

_SUFFIXES = tuple(CODINGS.values())


class SharedView:
    """A file or folder, and what is beneath it, but not what has readers of its own there.

    A link opens what the rule of its path closes, and no other rule: a folder is shared by someone
    who may not know what else is closed in it. tops: the paths of the site that lead to it, each
    with a slash before each name, so that b"" is the root: its own, and the one that it leads to if
    it is a symbolic link. rules: None where anyone may read everything.
    """

    def __init__(self, tops: Sequence[bytes], rules: AccessRules | None) -> None:
        self._tops = tuple(tops)
        self._view = _opened(rules, tops) if rules else None

    def is_unreadable(self, path: bytes) -> bool:
        """Tell whether a path must not be shown. path: decoded, with a slash before it."""
        if not any(map(self._has, _with_original(path))):
            return True
        return self._view is not None and self._view.is_unreadable(path)

    def hides_all_of(self, path: bytes) -> bool:
        """Tell whether nothing at a path nor beneath it is shown."""
        above = path + b"/"
        return self.is_unreadable(path) and not any(top.startswith(above) for top in self._tops)

    def _has(self, path: bytes) -> bool:
        return any(path == top or path.startswith(top + b"/") for top in self._tops)


def _opened(rules: AccessRules, tops: Sequence[bytes]) -> View:
    """Return what is seen by those without a login, and by the rules of the paths themselves."""
    view = rules.view_of(None)
    opened = {rules.find(top or b"/") for top in tops}
    can_read = tuple(may or index in opened for index, may in enumerate(view.can_read))
    return view._replace(can_read=can_read)


def _with_original(path: bytes) -> Sequence[bytes]:
    """Return a path, and that of the file of which it is a compressed sibling."""
    return (path, *(path[: -len(suffix)] for suffix in _SUFFIXES if path.endswith(suffix)))
