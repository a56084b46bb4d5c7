"""From settings to what is between several sites: which hosts and which paths each of them has."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aserve.config.root import describe_root
from aserve.config.settings import Settings
from aserve.config.virtual_hosts import ANY_HOST, own_hosts
from aserve.handlers.handler import Note
from aserve.http.host_names import HostTable, local_names
from aserve.http.path_globs import compile_glob
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site

if TYPE_CHECKING:
    from aserve.policies.policy import Policy
    from aserve.policies.router import SelectByPath

_NOT_ALLOWED = "This server does not answer to that host name. To allow it: --allowed-hosts NAME."
_NO_SITE = "This server has no site of that host name."


def route_hosts(settings: Settings, sites: Sequence[Site], rates: "Sequence[Policy]" = ()) -> Site:
    """Return what answers every request to sites: those of settings.every_site, in that order.

    rates: what counts the requests for hosts that are not served.
    """
    if not settings.sites and settings.allowed_hosts == (ANY_HOST,):
        return sites[0]
    from aserve.policies.router import HostRouter, Misdirected

    policies = (*((ServerHeader(),) if settings.server_header else ()), *rates)
    rejection = Misdirected(_NOT_ALLOWED if settings.root else _NO_SITE)
    others = misdirected = Site(rejection, policies, memory=sites[0].memory)
    place = settings.place_of("allowed_hosts")
    notes = {misdirected: Note("host", "not served", place)}
    if settings.root:
        others, *sites = sites
        notes[others] = Note("host", f"of no other site: {describe_root(settings.root)}", place)
    by_host: dict[str, Site] = {}
    for one, site in zip(settings.sites, sites, strict=True):
        by_host |= dict.fromkeys(one.normal_hosts, site)
        text = f"of {', '.join(one.hosts)}: {describe_root(one.settings.root)}"
        notes[site] = Note("host", text, one.settings.place_of("hosts"))
    return HostRouter(by_host, others, misdirected, _allowed_hosts(settings), notes)


def _allowed_hosts(settings: Settings) -> HostTable[bool] | None:
    """Return the names that the root is served under, None for any."""
    if settings.allowed_hosts == (ANY_HOST,):
        return None
    names = local_names(socket.gethostname()) | own_hosts(settings.host, settings.allowed_hosts)
    return HostTable(dict.fromkeys(names, True))


def route_paths(
    settings: Settings, site: Site, by_path: Sequence[Site], select: "SelectByPath"
) -> Site:
    """Return what answers every request to a site, of which some paths have sites of their own.

    by_path: those of settings.paths, in that order, as select finds them.
    """
    if not by_path:
        return site
    from aserve.policies.router import PathRouter

    notes = {
        one: Note("site", f"{path.match} has settings of its own", path.settings.place_of("match"))
        for one, path in zip(by_path, settings.paths, strict=True)
    }
    return PathRouter(by_path, site, select, notes, decode_slashes=settings.decode_slashes)


def select_path(settings: Settings) -> "SelectByPath":
    """Return what finds the first of settings.paths that matches a path."""
    matches = [compile_glob(path.match).fullmatch for path in settings.paths]
    return lambda path: next((at for at, match in enumerate(matches) if match(path)), None)
