"""The banner: what is served, where, how to share it and how to stop."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from aserve.config.pages import PLAIN_URLS
from aserve.config.processes import DEFAULT_PORT
from aserve.config.root import Root, describe_root, home_name, named_paths, printable
from aserve.config.settings import Settings
from aserve.config.values import UNIX_PREFIX
from aserve.config.virtual_hosts import VirtualHost, with_sites
from aserve.filesystem.mounts import ChangeTracking, Mounts
from aserve.handlers.writing.areas import WriteArea
from aserve.http.request_target import TargetPath
from aserve.server.listeners import lan_url, port_of, url
from aserve.version import __version__

_CURL, _BY_PATH = "curl", "--unix-socket"


def format_banner(
    settings: Settings,
    listener: socket.socket,
    file: Path | None = None,
    origins: Sequence[str] | None = None,
    *,
    is_activated: bool = False,
) -> str:
    """Return the banner of a server that listens.

    file: what options were read from. origins: URLs by which others reach the server, the best one
    first, None where they were not looked for. is_activated: whether a service manager has chosen
    the port.
    """
    is_found = settings.port is None and not is_activated
    is_expected = not is_found or port_of(listener) in {0, DEFAULT_PORT}
    port_note = "" if is_expected else f"   (port {DEFAULT_PORT} is taken)"
    curl = _curl(listener)
    opener = "" if curl == _CURL else f"{curl} "
    return "\n".join(
        (
            f"aserve {__version__} serves {_served(settings)}",
            f"  open   {opener}{home_url(settings, listener)}{port_note}",
            *_share_lines(settings, listener, origins),
            *_trust_lines(settings, [*(origins or ()), _base_url(settings, listener)][0]),
            *(line for site in settings.sites for line in _site_lines(site, listener, curl)),
            *_live_line(settings),
            *_write_lines(settings, _base_url(settings, listener), curl),
            *([f"  config {printable(str(file))}"] if file else []),
            "  stop   Ctrl-C",
        )
    )


def _served(settings: Settings) -> str:
    """Return what is served: the root, and how many other sites."""
    root = printable(describe_root(settings.root)) + _modes(settings) if settings.root else ""
    return with_sites(root, settings.sites)


def _share_lines(
    settings: Settings, listener: socket.socket, origins: Sequence[str] | None
) -> list[str]:
    """Return how others open the root, or a hint; sites are opened by their names."""
    if not settings.root or listener.family == socket.AF_UNIX:
        return []
    if origins is None:
        origins = list(filter(None, [lan_url(listener, settings.scheme)]))
        hint = "with --lan, others in your network can open it"
    else:
        hint = "no network is found: only this machine can open it"
    first, *others = [origin + home_of(settings.root) for origin in origins] or [hint]
    return [f"  share  {first}", *(f"         {url}" for url in others)]


def _trust_lines(settings: Settings, origin: str) -> list[str]:
    """Return where phones get the authority of --https if it is shared, and what to compare."""
    if not settings.share_ca:
        return []
    from aserve.server.shared_authority import authority_fingerprint

    fingerprint = authority_fingerprint()
    middle = len(fingerprint) // 2
    return [
        f"  trust  {certificate_url(origin)}",
        f"         SHA-256 {fingerprint[:middle]}",
        f"                 {fingerprint[middle + 1 :]}",
    ]


def certificate_url(origin: str) -> str:
    """Return where phones get the certificate of the authority: by http, before they trust it."""
    from aserve.handlers.authority_certificate import PATH

    return origin.replace("https://", "http://", 1).rstrip("/") + PATH


def _curl(listener: socket.socket) -> str:
    """Return the command that asks a server: for a Unix socket, no URL says where it is."""
    if listener.family != socket.AF_UNIX:
        return _CURL
    import shlex

    host = url(listener).removeprefix(UNIX_PREFIX)
    option, name = ("--abstract-unix-socket", host[1:]) if host[0] == "@" else (_BY_PATH, host)
    return f"{_CURL} {option} {shlex.quote(name)}"


def _base_url(settings: Settings, listener: socket.socket) -> str:
    """Return the URL of the root, as a client on this machine asks for it."""
    if listener.family == socket.AF_UNIX:
        return f"{settings.scheme}://localhost/"
    return url(listener, settings.scheme)


def _site_lines(site: VirtualHost, listener: socket.socket, curl: str) -> Iterator[str]:
    """Yield the address of a site and its root, and what clients may change there."""
    settings = site.settings
    served = printable(describe_root(settings.root)) + _modes(settings)
    yield f"  site   {_site_url(site, listener)}  {served}"
    yield from _live_line(settings)
    yield from _write_lines(settings, _site_url(site, listener), curl)


def _site_url(site: VirtualHost, listener: socket.socket) -> str:
    host = site.normal_hosts[0]
    scheme = site.settings.scheme
    port = f":{port_of(listener)}" if port_of(listener) else ""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{port}/"


def _modes(settings: Settings) -> str:
    """Return what is served differently than files usually are, "" for nothing."""
    modes = {
        "a single-page app": bool(settings.spa),
        f"URLs as on {settings.urls}": settings.urls != PLAIN_URLS,
    }
    named = ", ".join(name for name, is_on in modes.items() if is_on)
    return f" ({named})" if named else ""


def _live_line(settings: Settings) -> list[str]:
    """Return the line about live reload, if it is on: also how often files must be looked at."""
    if not settings.live:
        return []
    from aserve.filesystem.tree_watch import INTERVAL

    mounts, paths = Mounts(), map(os.fsdecode, named_paths(settings.root).values())
    tracking = min(mounts.tracking_of(Path(path).stat().st_dev) for path in paths)
    note = f", looked for every {INTERVAL:g} s" if tracking is not ChangeTracking.EVENTS else ""
    return [f"  live   pages reload when a file changes{note}"]


def _write_lines(settings: Settings, address: str, curl: str) -> list[str]:
    """Return what clients may change, if there is anything, and a command that stores a file."""
    modes = {"all": "files may be changed", "add": "files may be added"}
    places = {
        mode: " and ".join(_place(area) for area in settings.write_areas if area.mode == mode)
        for mode in modes
    }
    text = "; ".join(f"{modes[mode]} {place}" for mode, place in places.items() if place)
    commands = [f"         {curl} -T FILE {url}" for url in _upload_urls(settings, address)]
    return [f"  write  {text}", *commands[:1]] if text else []


def _upload_urls(settings: Settings, address: str) -> Iterator[str]:
    """Return the URLs of folders that files can be added to, as a shell takes them.

    The root of a site is none if it has only what is served by a name.
    """
    import shlex

    has_root = b"" in named_paths(settings.root)
    for area in settings.write_areas:
        if area.path or has_root:
            path = TargetPath(area.path, is_directory=True).location()
            yield shlex.quote(address + path[1:])


def _place(area: WriteArea) -> str:
    return f"below {printable(area.shown_path())}" if area.path else "everywhere"


def home_url(settings: Settings, listener: socket.socket) -> str:
    """Return the URL that opens what is served on this machine: of one file, its own.

    Without a root it is that of the first site.
    """
    if settings.root:
        return _base_url(settings, listener) + home_of(settings.root)
    return _site_url(settings.sites[0], listener) + home_of(settings.sites[0].settings.root)


def home_of(root: Root) -> str:
    """Return what follows the slash of a URL that opens a root: the name of the one file, or ""."""
    name = os.fsencode(home_name(root))
    return TargetPath(tuple(name.split(b"/")), is_directory=False).location()[1:]
