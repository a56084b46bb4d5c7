"""Which files of a site can be seen at all: by their names, and by the links that lead to them.

One policy for a request, a listing, a search, an archive and a compressed sibling: what it hides is
hidden from all of them.
"""

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple

from aserve.filesystem.globs import name_pattern, path_pattern
from aserve.http.content_negotiation import CODINGS

ALWAYS_HIDDEN = (
    # Version control: the history has what was deleted.
    *(".git", ".git-credentials", ".svn", ".hg", ".bzr"),
    # Passwords and keys.
    *(".env*", ".ht*", ".npmrc", ".pypirc", ".netrc", ".ssh", ".gnupg", ".aws"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519"),
    # The rules of a site, which are for its server.
    *("_headers", "_redirects", "aserve.toml"),
    # Files that are being uploaded.
    ".aserve-upload-*",
    # What editors and file managers leave behind.
    *(".DS_Store", "Thumbs.db", "*~", ".#*", "*.swp"),
)
"""Globs of names that are never served, in any case of their letters."""

MAX_GLOBS = 1_000
"""How many others a site may hide. Each is tried for a path, and takes 0.15 ms to compile."""

_SIBLING = rb"(?:\.(?:" + b"|".join(suffix[1:] for suffix in CODINGS.values()) + b"))?"
_NAME_END = rb"(?=/|\Z)"
_AT_ROOT = rb"(?<!(?s:.)/)"  # behind the first slash of a path
_NO_NAMES = frozenset({"", ".", ".."})
_DOTFILE = rb"\.(?!well-known(?:/|\Z))"  # RFC 8615: /.well-known/ is meant to be found


Find = Callable[[bytes], object]
"""Finds a name that is hidden in a path that begins with a slash; None: the path is visible."""


class Symlinks(enum.Enum):
    """Which symbolic links are followed."""

    INSIDE = "inside"
    """Those that lead to a file of the site."""
    ALL = "all"
    """Those that lead to any file that the process may read."""
    NONE = "none"
    """None: a path with a link leads nowhere."""


class LinkTarget(NamedTuple):
    """Where a link leads: a path of the site, or an absolute one outside of it."""

    path: bytes
    is_inside: bool


class Visibility:
    """Decides which paths of a site are visible.

    hide: globs. One without a slash hides names at any depth, one with a slash paths from the root,
    where "**" is any number of directories. Letters match in both cases, since file systems exist
    that ignore case. A hidden directory hides all beneath it, a hidden file its siblings, too.
    dotfiles: whether names that begin with a dot are visible; ALWAYS_HIDDEN stays hidden. Raises
    ValueError for a glob that is none.
    """

    def __init__(
        self,
        hide: Iterable[str] = (),
        *,
        dotfiles: bool = False,
        symlinks: Symlinks = Symlinks.INSIDE,
    ) -> None:
        globs = tuple(map(_checked_glob, hide))
        self.symlinks = symlinks
        self.has_globs = bool(globs)
        """Whether one more place can be hidden: a visible file's sibling, what is behind a link."""
        hidden = *ALWAYS_HIDDEN, *globs
        self._find_in_target: Find = re.compile(_pattern(hidden)).search
        self.find_hidden: Find = re.compile(_pattern(hidden, dotfiles=dotfiles)).search
        """Returns a match for a path that is hidden, None for a visible one: one call in C.

        The path has a slash before its first name as well.
        """

    def beneath(self, path: bytes) -> "Visibility":
        """Return the same policy for a directory that is served at a path of the site.

        If that path is hidden, the directory is served all the same, since it was asked for; then
        only what is below counts.
        """
        if not (path and self.is_visible(path)):
            return self
        policy, prefix = copy(self), b"/" + path
        policy._find_in_target = partial(  # noqa: SLF001 - of the same class
            _find_beneath, self._find_in_target, prefix
        )
        policy.find_hidden = partial(_find_beneath, self.find_hidden, prefix)
        return policy

    def without(self, is_denied: Callable[[bytes], bool]) -> "Visibility":
        """Return the same policy, which hides some paths more, whatever leads to them.

        is_denied: gets a path with a slash before its first name.
        """
        policy = copy(self)
        policy.has_globs = True
        policy._find_in_target = partial(_find_either, self._find_in_target, is_denied)  # noqa: SLF001 - of the same class
        policy.find_hidden = partial(_find_either, self.find_hidden, is_denied)
        return policy

    def is_visible(self, path: bytes) -> bool:
        """Tell whether a path, its names separated by slashes, is visible by all of its names."""
        return not path or self.find_hidden(b"/" + path) is None  # the root has no name to hide

    def allows(self, target: LinkTarget) -> bool:
        """Tell whether a link may lead to a target."""
        return (self.allows_target if target.is_inside else self.allows_outside)(target.path)

    def allows_target(self, path: bytes) -> bool:
        """Tell whether a link may lead to a path of the site.

        The name of the link decides about dotfiles: where volumes are replaced as a whole, as in
        Kubernetes, each file is a link through a directory whose name begins with a dot.
        """
        return self._find_in_target(b"/" + path) is None

    def allows_outside(self, path: bytes) -> bool:
        """Tell whether a link may lead to an absolute path that is not of the site.

        The globs of this site are for the names under its root, by which the file was asked for:
        what a link was made for may lie in /srv/private. Keys are keys everywhere.
        """
        return self.symlinks is Symlinks.ALL and _find_always(path) is None


def _find_beneath(find: Find, prefix: bytes, path: bytes) -> object:
    return find(prefix + path)


def _find_either(find: Find, is_denied: Callable[[bytes], bool], path: bytes) -> object:
    return find(path) or is_denied(path) or None


def hide_error(glob: str) -> str:
    """Return what is wrong with a glob, "" if nothing is."""
    try:
        _checked_glob(glob)
    except ValueError as error:
        return str(error)
    return ""


def _checked_glob(glob: str) -> str:
    names = glob.rstrip("/")
    is_valid = names and "\0" not in names
    if not is_valid or not _NO_NAMES.isdisjoint(names.removeprefix("/").split("/")):
        raise ValueError("must be a name or a path that can exist")
    _pattern((names,))  # which may raise ValueError, too
    return names


def _pattern(globs: Sequence[str], *, dotfiles: bool = True) -> bytes:
    """Return the pattern of what some globs hide; of dotfiles as well, unless they are visible.

    It begins with a slash, so that a search only tries the starts of names.
    """
    hidden = [_names_pattern([glob for glob in globs if "/" not in glob])] if globs else []
    rooted = [glob.removeprefix("/") for glob in globs if "/" in glob]
    hidden += [_AT_ROOT + b"(?i:" + path_pattern(glob, _SIBLING) + b")" for glob in rooted]
    return b"/(?:" + b"|".join(hidden if dotfiles else [_DOTFILE, *hidden]) + b")"


def _names_pattern(globs: Iterable[str]) -> bytes:
    suffixes: list[bytes] = []
    others: list[bytes] = []
    for glob in globs:
        is_suffix = glob[0] == "*" and "*" not in glob[1:]
        (suffixes if is_suffix else others).append(name_pattern(glob[is_suffix:]))
    # All suffixes are looked for at once.
    ending = [b"[^/]*(?:" + b"|".join(suffixes) + b")"] if suffixes else []
    return b"(?i:" + b"|".join(others + ending) + b")" + _SIBLING + _NAME_END


_find_always = re.compile(_pattern(ALWAYS_HIDDEN)).search

DEFAULT_VISIBILITY = Visibility()
"""Neither dotfiles nor ALWAYS_HIDDEN; links that stay inside."""
