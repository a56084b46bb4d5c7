"""From settings to a site: which handlers and policies they ask for, in which order."""

from collections.abc import Iterator
from functools import partial

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.handlers.handler import Handler
from aserve.handlers.methods import Connect
from aserve.policies.policy import Policy
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.transport.eventloop.tunnel import Tunnel


def build_site(
    settings: Settings, mounts: Mounts, directories: WatchedDirectories | None = None
) -> Site:
    """Return the site that settings describe. directories: those that know their names."""
    return Site.of_files(
        Directory(settings.root, mounts, settings.media_types, directories),
        tuple(_policies(settings)),
        allow_trace=settings.allow_trace,
        connect=_connect(settings),
        decode_slashes=settings.decode_slashes,
    )


def _connect(settings: Settings) -> Handler | None:
    """Return the handler of CONNECT, if any address is allowed."""
    open_tunnel = partial(Tunnel, idle_timeout=settings.limits.tunnel_timeout)
    return Connect(settings.allow_connect, open_tunnel) if settings.allow_connect else None


def _policies(settings: Settings) -> Iterator[Policy]:
    """Yield the policies of a site, the outermost first."""
    if settings.server_header:
        yield ServerHeader()
