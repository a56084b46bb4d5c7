"""What is fine on a machine's own addresses, but not where others can reach the server."""

from collections.abc import Iterator

from aserve.access.rights import ANYONE, Rights
from aserve.config.settings import Settings

NO_LOGIN = "everyone who can reach this server may change its files: no login"

OPEN = "everyone in the network can read what is served: no login"

NO_TLS = "passwords go over the network as they are: no TLS"

Risks = Iterator[tuple[str, str]]
"""A setting, and what is risky in it."""


def risks_beyond_this_machine(settings: Settings) -> Risks:
    """Yield what a user should know of a server that others can reach, in each of its sites."""
    yield from dict.fromkeys(one for site in settings.every_site for one in risks_of(site))


def risks_in_the_network(settings: Settings) -> Risks:
    """Yield the same of a server that is shared with a network, or that anyone may read it."""
    risks = list(risks_beyond_this_machine(settings))
    yield from risks
    if any(map(is_open, settings.every_site)) and NO_LOGIN not in dict(risks).values():
        yield "lan", OPEN


def risks_of(settings: Settings) -> Risks:
    """Yield the risks of one site."""
    if _is_writable_by_anyone(settings):
        yield "write", NO_LOGIN
    for setting in () if settings.has_tls else password_settings(settings):
        yield setting, NO_TLS


def is_open(settings: Settings) -> bool:
    """Tell whether files of a site can be read without a login, from any address."""
    return not settings.allow and any(ANYONE in one.readers for one in _all_rights(settings))


def password_settings(settings: Settings) -> tuple[str, ...]:
    """Return which settings have clients send passwords."""
    return tuple(name for name in ("auth", "htpasswd") if getattr(settings, name))


def _is_writable_by_anyone(settings: Settings) -> bool:
    """Tell whether files can be changed without a login."""
    return bool(settings.write) and any(ANYONE in one.writers for one in _all_rights(settings))


def _all_rights(settings: Settings) -> list[Rights]:
    """Return the rights of a site, and of those of its paths that have others."""
    return [settings.rights, *(one.settings.rights for one in settings.paths if one.sets_access)]
