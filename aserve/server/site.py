"""From settings to a site: which handlers and policies they ask for, in which order."""

from collections.abc import Iterator
from functools import partial

from aserve.config.settings import Settings
from aserve.filesystem.directory import Directory, FileSystem
from aserve.filesystem.mounts import Mounts
from aserve.filesystem.watched_directories import WatchedDirectories
from aserve.handlers.handler import Handler
from aserve.handlers.listing.handler import Listings
from aserve.handlers.methods import Connect, MethodDispatcher, method_table
from aserve.handlers.static_files import StaticFiles
from aserve.policies.policy import Policy
from aserve.policies.server_header import ServerHeader
from aserve.policies.site import Site
from aserve.transport.eventloop.tunnel import Tunnel


def build_site(
    settings: Settings, mounts: Mounts, directories: WatchedDirectories | None = None
) -> Site:
    """Return the site that settings describe. directories: those that know their names."""
    files = Directory(settings.root, mounts, settings.media_types, directories, settings.visibility)
    methods = method_table(
        _pages(settings, files),
        allow_trace=settings.allow_trace,
        connect=_connect(settings),
        decode_slashes=settings.decode_slashes,
    )
    return Site(MethodDispatcher(methods), tuple(_policies(settings)))


def _pages(settings: Settings, files: FileSystem) -> Handler:
    """Return the handler of GET and HEAD."""
    return StaticFiles(
        files,
        decode_slashes=settings.decode_slashes,
        listings=_listings(settings, files),
        lists_all=settings.listing == "on",
    )


def _listings(settings: Settings, files: FileSystem) -> Listings | None:
    """Return what makes the listings of directories, if there are any."""
    if settings.listing == "off":
        return None
    return Listings(
        files,
        settings.media_types,
        page_size=settings.page_size,
        has_texts=settings.readme,
    )


def _connect(settings: Settings) -> Handler | None:
    """Return the handler of CONNECT, if any address is allowed."""
    open_tunnel = partial(Tunnel, idle_timeout=settings.limits.tunnel_timeout)
    return Connect(settings.allow_connect, open_tunnel) if settings.allow_connect else None


def _policies(settings: Settings) -> Iterator[Policy]:
    """Yield the policies of a site, the outermost first."""
    if settings.server_header:
        yield ServerHeader()
