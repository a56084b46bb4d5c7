"""From settings to who gets which view of a site."""

from collections.abc import Callable
from typing import NamedTuple

from aserve.access.authenticator import Authenticator, LoginChecks
from aserve.access.failed_logins import FailedLogins
from aserve.access.networks import ClientNetworks
from aserve.access.rights import AccessRules, View
from aserve.config.settings import Settings
from aserve.handlers.error_pages import ErrorPages
from aserve.policies.access import AccessRouter, Views
from aserve.policies.clients import ClientRouter
from aserve.policies.server_header import ServerHeader
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
        needs_tls=settings.has_tls,
        place=place,
    )


def route_clients(settings: Settings, site: Site) -> Site:
    """Return what answers every request to a site, of which some clients get nothing."""
    if not (settings.allow or settings.deny):
        return site
    policies = (ServerHeader(),) if settings.server_header else ()
    rejecting = Site(ErrorPages(), policies, memory=site.memory)
    networks = ClientNetworks(settings.allow, settings.deny)
    place = settings.place_of("allow" if settings.allow else "deny")
    return ClientRouter(site, rejecting, networks, place)


def find_views(settings: Settings, rules: AccessRules) -> Views:
    """Return the views of a site: users with equal rights share one."""
    indices: dict[View, int] = {rules.view_of(None): 0}
    by_user = {
        user: indices.setdefault(rules.view_of(user), len(indices)) for user in settings.users
    }
    return Views(list(indices), by_user)
