"""From settings to who gets which view of a site."""

from collections.abc import Callable
from typing import NamedTuple

from aserve.access.authenticator import Authenticator, LoginChecks
from aserve.access.failed_logins import FailedLogins
from aserve.access.rights import AccessRules, View
from aserve.config.settings import Settings
from aserve.policies.access import AccessRouter, Views
from aserve.policies.site import Site


class LoginGuard(NamedTuple):
    """What all sites of a process share, so that no guess is freer at another one."""

    failures: FailedLogins
    checks: LoginChecks

    @classmethod
    def of_threads(cls, threads: int) -> "LoginGuard":
        """Return a new one. threads: how many may check passwords, or wait for that."""
        return cls(FailedLogins(), LoginChecks(threads))


def route_users(
    settings: Settings, build: Callable[[View | None], Site], guard: LoginGuard
) -> Site:
    """Return what answers every request to a site: a router between views, if rules ask for it.

    build: returns the site of a view, None being that of a site that is open to all.
    """
    rules = settings.access_rules
    if rules is None:
        return build(None)
    views = find_views(settings, rules)
    place = settings.place_of("htpasswd" if settings.htpasswd else "auth")
    return AccessRouter(
        list(map(build, views.views)),
        views,
        Authenticator(settings.logins, *guard),
        decode_slashes=settings.decode_slashes,
        place=place,
    )


def find_views(settings: Settings, rules: AccessRules) -> Views:
    """Return the views of a site: users with equal rights share one."""
    indices: dict[View, int] = {rules.view_of(None): 0}
    by_user = {
        user: indices.setdefault(rules.view_of(user), len(indices)) for user in settings.users
    }
    return Views(list(indices), by_user)
