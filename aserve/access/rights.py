"""Who may read and write what: rules by path, and what they mean for one user."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

from aserve.http.content_negotiation import CODINGS
from aserve.http.path_globs import compile_glob

ANYONE = "anyone"
"""Everyone, also without a login."""
USERS = "users"
"""Everyone with a login."""
NOBODY = "nobody"
"""No one at all."""
GROUPS = (ANYONE, USERS, NOBODY)

Right = Literal["read", "write"]

_SUFFIXES = tuple(CODINGS.values())


class Rights(NamedTuple):
    """Who may read and who may write some paths: names of users, or one of GROUPS."""

    readers: frozenset[str]
    writers: frozenset[str]

    def has(self, user: str | None, right: Right) -> bool:
        """Tell whether a user has a right, None being one without a login."""
        allowed = self.readers if right == "read" else self.writers
        return ANYONE in allowed or (user is not None and (USERS in allowed or user in allowed))


class AccessRules:
    """The rights of all paths of a site: those of the first rule that is for a path.

    A rule is for what its glob matches and for all beneath that: "/private" and "/private/*" are
    the same. It is for the compressed siblings of a file as well, and for other cases of letters,
    since there are file systems that ignore case. default: for what no rule is for.
    """

    def __init__(self, rules: Iterable[tuple[str, Rights]], default: Rights) -> None:
        pairs = list(rules)
        self.all_rights = (*(rights for _, rights in pairs), default)
        """Of each rule, and of all other paths at the end."""
        patterns = [compile_glob(glob).pattern for glob, _ in pairs]
        # One expression, whose alternatives are tried in order. The slash behind the path makes
        # "/private/*" match the folder itself.
        alternatives = b"|".join(b"(" + pattern + b")(?:/.*)?" for pattern in patterns)
        self._find = re.compile(alternatives, re.DOTALL | re.IGNORECASE).fullmatch

    def find(self, path: bytes) -> int:
        """Return which of all_rights a path has. path: decoded, with a slash before each name."""
        match = self._find(path.rstrip(b"/") + b"/") if len(self.all_rights) > 1 else None
        return match.lastindex - 1 if match and match.lastindex else len(self.all_rights) - 1

    def rights_at(self, path: bytes) -> Rights:
        """Return the rights of a path."""
        return self.all_rights[self.find(path)]

    def view_of(self, user: str | None) -> "View":
        """Return what a user may see and change; equal for users with equal rights."""
        can_read = tuple(rights.has(user, "read") for rights in self.all_rights)
        can_write = tuple(rights.has(user, "write") for rights in self.all_rights)
        return View(self, can_read, can_write)

    def allows_someone(self, path: bytes, right: Right) -> bool:
        """Tell whether a login could give a right that those without one do not have."""
        rights = self.rights_at(path)
        allowed = rights.readers if right == "read" else rights.writers
        return not allowed <= {NOBODY}


class View(NamedTuple):
    """What some users may read and write: they all have the same rights.

    can_read, can_write: by the rules, in their order, and for all other paths at the end.
    """

    rules: AccessRules
    can_read: tuple[bool, ...]
    can_write: tuple[bool, ...]

    def may(self, right: Right, path: bytes) -> bool:
        """Tell whether a path may be read, or written. path: decoded, with a slash before it.

        What a compressed sibling is made of must be allowed as well.
        """
        allowed = self.can_read if right == "read" else self.can_write
        return all(allowed) or all(allowed[self.rules.find(each)] for each in _with_original(path))

    def is_unreadable(self, path: bytes) -> bool:
        """Tell whether a path must not be shown."""
        return not self.may("read", path)

    def hides_all_of(self, path: bytes) -> bool:
        """Tell whether nothing that is served at a path, as one of several, is shown."""
        return self.is_unreadable(path)

    def is_unwritable(self, path: bytes) -> bool:
        """Tell whether a path must not be changed."""
        return not self.may("write", path)


def _with_original(path: bytes) -> Sequence[bytes]:
    folded = path.lower()
    for suffix in _SUFFIXES:
        if folded.endswith(suffix):
            return path, path[: -len(suffix)]
    return (path,)


def unknown_users(names: Iterable[str], users: Collection[str]) -> list[str]:
    """Return the names that are neither groups nor users."""
    return [name for name in names if name not in GROUPS and name not in users]
