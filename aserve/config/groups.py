"""The setting about groups: names that stand for several users, among readers and writers."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aserve.config.checks import Errors, value_name
from aserve.config.names import ItemError
from aserve.config.value_kinds import wrong_type
from aserve.config.values import parse_names

if TYPE_CHECKING:
    from aserve.config.settings import Settings

GroupTable = Mapping[str, Sequence[str]]
"""Users by the names of their groups."""

MARK = "@"
"""What a group begins with among readers and writers."""

_NAME = re.compile(r"[\w.-]+")


def group_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with groups, once all users are known."""
    try:
        groups = parse_groups(settings.groups)
    except ItemError as error:
        yield value_name(settings, "groups", error.index), str(error)
        return
    for index, (name, users) in enumerate(groups.items() if settings.root else ()):
        for user in users:
            if user not in settings.users:
                others = ", ".join(sorted(settings.users)) or "no users at all"
                reason = f"{name}: there is no user {user!r}, only {others}"
                yield value_name(settings, "groups", index), reason


def parse_groups(groups: Sequence[str] | GroupTable) -> Mapping[str, Collection[str]]:
    """Return the users of each group. Raises ItemError, whose text is the reason.

    groups: each "name=user,user", or a mapping.
    """
    found: dict[str, Collection[str]] = {}
    pairs = groups.items() if isinstance(groups, Mapping) else map(_parse, groups)
    for index, (name, users) in enumerate(pairs):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ItemError(index, f"must be NAME=USER,USER, and {name!r} is no name of a group")
        if name in found:
            raise ItemError(index, f"{name} is named twice")
        is_list = isinstance(users, Collection) and not isinstance(users, str)
        if not is_list or not all(isinstance(one, str) for one in users):
            raise ItemError(index, f"{name}: must be the names of users, not {users!r}")
        if not users:
            raise ItemError(index, f"{name}: has no users")
        found[name] = tuple(users)
    return found


def _parse(text: str) -> tuple[str, Sequence[str]]:
    name, _, users = text.partition("=")
    return name, parse_names(users) if users else ()


def group_texts(table: Mapping[str, Any]) -> list[str]:
    """Return NAME=USER,USER for each group of a table, whose values are lists or such texts."""
    return [f"{name}={_text(users, at)}" for at, (name, users) in enumerate(table.items())]


def _text(users: object, index: int) -> str:
    names = [users] if isinstance(users, str) else users
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise ItemError(index, str(wrong_type("a list of the names of users", users)))
    return ",".join(names)


def members(names: Sequence[str], groups: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield names, and in place of each group its users."""
    for name in names:
        yield from groups[name.removeprefix(MARK)] if name.startswith(MARK) else (name,)
