"""The settings of who may read and write: what is wrong with them, and what they mean together."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.access.logins import parse_login, read_logins
from aserve.access.networks import UNIX, network_error
from aserve.access.rights import ANYONE, GROUPS, NOBODY, USERS, Rights, unknown_users
from aserve.config.checks import Errors, each_value
from aserve.config.groups import MARK, members, parse_groups
from aserve.config.root import Root, named_paths, shown_path
from aserve.config.shares import store_error, store_files
from aserve.config.value_kinds import Many
from aserve.filesystem.visibility import Visibility

if TYPE_CHECKING:
    from aserve.config.settings import Settings

HIDDEN = "..."
"""What is shown in place of a password."""


class Secrets(Many):
    """Texts that are never shown: USER:PASSWORD. A message says what is wrong without them."""

    def __init__(self) -> None:
        super().__init__(to_toml=lambda texts: [hidden_secret(one) for one in texts])
        self.types = (str, list)

    def from_toml(self, value: object) -> tuple[str, ...]:
        """Return the texts of a list of strings, or of one string."""
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise ValueError("must be USER:PASSWORD, or a list of them")
        return tuple(texts)


def hidden_secret(text: str) -> str:
    """Return USER:PASSWORD without the password."""
    user, colon, _ = text.partition(":")
    return f"{user}:{HIDDEN}" if colon else HIDDEN


def login_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with each USER:PASSWORD, which is not shown."""
    users: set[str] = set()
    for item, text in each_value(settings, "auth"):
        try:
            user, _ = parse_login(text)
        except ValueError as error:
            yield item, str(error)
            continue
        if text == hidden_secret(text):
            yield item, f"{HIDDEN!r} is what aserve check prints in place of the password"
        if user in users:
            yield item, f"{user} is named twice"
        users.add(user)


def access_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with who may do what, once all users are known."""
    for setting in ("allow", "deny", "proxy_trust"):
        for item, text in each_value(settings, setting):
            is_network = setting != "proxy_trust" or text != UNIX
            if is_network and (reason := network_error(text)):
                yield item, reason
    yield from proxy_errors(settings)
    if settings.rate:
        yield from _rate_errors(settings.rate)
    for setting in ("readers", "writers") if settings.root else ():
        named = getattr(settings, setting)
        if reason := names_error(named, settings.users, parse_groups(settings.groups)):
            yield setting, reason


def proxy_errors(settings: "Settings") -> Errors:
    """Yield what is missing where proxies begin connections with headers."""
    if settings.proxy_protocol and not settings.proxy_trust:
        yield "proxy_protocol", "needs proxy_trust: which peers may say who the client is"


def _rate_errors(rate: str) -> Errors:
    from aserve.access.rates import parse_rate  # noqa: PLC0415 - not needed without a rate

    try:
        parse_rate(rate)
    except ValueError as error:
        yield "rate", str(error)


def share_errors(settings: "Settings") -> Errors:
    """Yield what is wrong with the file of links, which is made when it is needed."""
    if not settings.share:
        return
    if reason := store_error(settings.share):
        yield "share", reason
        return
    for file in store_files(settings.share) if settings.root else ():
        if url := url_of(file, settings.root, settings.visibility):
            yield "share", f"{file} would be served at {url}: keep it elsewhere"


def read_password_file(
    file: Path, others: Collection[str], root: Root, visibility: Visibility
) -> tuple[str, ...]:
    """Return the lines of a password file; raises ValueError.

    others: the logins that are given besides. It must not be one of the files that are served.
    """
    lines = tuple(read_logins(file))
    if url := url_of(file, root, visibility):
        raise ValueError(f"{file} is served at {url}: a name that begins with .ht never is")
    taken = set(map(user_of, others)) & set(map(user_of, lines))
    if taken:
        raise ValueError(f"{file}: {min(taken)} is a user of --auth already")
    if not lines:
        raise ValueError(f"{file}: has no users")
    return lines


def user_of(login: str) -> str:
    """Return the user of a USER:SECRET."""
    return login.partition(":")[0]


def names_error(names: Sequence[str], users: Collection[str], groups: Collection[str]) -> str:
    """Return what is wrong with names of readers or writers, "" if nothing is."""
    known = {f"{MARK}{group}" for group in groups}
    if missing := [one for one in names if one.startswith(MARK) and one not in known]:
        others = f"only {', '.join(sorted(known))}" if known else "since groups has none"
        return f"there is no group {missing[0]!r}, {others}"
    if unknown := unknown_users(names, {*users, *known}):
        return f"there is no user {unknown[0]!r}, only {', '.join((*GROUPS, *sorted(users)))}"
    if len(names) > 1 and (alone := [one for one in (ANYONE, NOBODY) if one in names]):
        return f"{alone[0]} says all, so that no other can be named"
    return ""


def rights_of(settings: "Settings") -> Rights:
    """Return the rights that settings give; those that are not named belong to all users."""
    usual = (USERS,) if settings.users else (ANYONE,)
    groups = parse_groups(settings.groups)
    both = settings.readers or usual, settings.writers or usual
    return Rights(*(frozenset(members(names, groups)) for names in both))


def is_open_to_all(rights: Rights) -> bool:
    """Tell whether no one is kept out."""
    return ANYONE in rights.readers and ANYONE in rights.writers


def completed_rule(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return what a rule means that it does not say: what it names no one for, no one has.

    names: the settings of the rule.
    """
    given = [name for name in ("readers", "writers") if name in names]
    missing = {"readers": "writers", "writers": "readers"}
    return {missing[given[0]]: (NOBODY,)} if len(given) == 1 else {}


def url_of(file: Path, root: Root, visibility: Visibility) -> str:
    """Return the path at which a file is served, "" if it is not."""
    for name, path in named_paths(root).items():
        top = Path(os.fsdecode(path))
        for each in (file.absolute(), file.resolve()):
            if each.is_relative_to(top):
                names = [*filter(None, [os.fsdecode(name)]), *each.relative_to(top).parts]
                place = "/".join(names)
                if visibility.is_visible(os.fsencode(place)):
                    return shown_path(place)
    return ""
