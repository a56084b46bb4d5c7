"""The command `aserve share`: makes links to one file or folder, lists and revokes them."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import typer

from aserve.cli import completion
from aserve.cli.declarations import declare
from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.help import Rows
from aserve.cli.messages import print_message
from aserve.config.config_file import FILE_NAME
from aserve.config.configuration import Configuration, read_configuration
from aserve.config.processes import DEFAULT_PORT
from aserve.config.root import printable
from aserve.config.settings import Settings, SettingsError
from aserve.config.shares import USUAL_STORE, paths_in_site, store_error, store_file
from aserve.policies.shares import PREFIX
from aserve.server.control_socket import find_servers
from aserve.server.listeners import usual_url
from aserve.shares.links import Link, StoreError
from aserve.shares.store import ShareStore

SECTIONS: Mapping[str, Rows] = {
    "Examples": (
        ("aserve --share www/", "# a server that answers links"),
        ("aserve share www/report.pdf", "# a link for a week"),
        ("aserve share --expires 1d --downloads 3 www/report.pdf", "# and for three downloads"),
        ("aserve share --list", "# all links, and how often they were used"),
        ("aserve share --revoke 1f0c3a9be2d4", "# it leads nowhere from now on"),
    )
}

_SHARE, _LINKS = "Share", "Links"

_NEVER = "never"
_USUAL_LIFETIME = "7d"
_LIFETIME = re.compile(r"([1-9]\d{0,4})([mhd])", re.ASCII)
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_MAX_DOWNLOADS = 1_000_000

SharedPath = Annotated[
    str | None,
    typer.Argument(
        metavar="PATH", rich_help_panel="Arguments", help="The file or folder that is shared."
    ),
]
Expires = Annotated[
    str | None,
    declare(
        _SHARE,
        "--expires",
        value="TIME",
        text="When it ends: 30m, 12h, 7d or never.",
        show_default=_USUAL_LIFETIME,
        autocompletion=completion.lifetimes,
    ),
]
Downloads = Annotated[
    str | None,
    declare(
        _SHARE,
        "--downloads",
        value="N",
        text="How many downloads it is for.",
        show_default="any number",
    ),
]
BaseUrl = Annotated[
    str | None,
    declare(
        _SHARE,
        "--url",
        value="URL",
        text="Where others reach the server.",
        show_default="of the settings",
    ),
]
ListLinks = Annotated[bool, declare(_LINKS, "--list", text="List all links.")]
Revoke = Annotated[
    str | None, declare(_LINKS, "--revoke", value="ID", text="End a link; see --list.")
]
Store = Annotated[
    str | None,
    declare(
        _LINKS,
        "--store",
        value="FILE",
        text="Where links are kept, as in --share=FILE.",
        show_default="of the settings",
    ),
]
ConfigFile = Annotated[
    str | None,
    declare(
        _LINKS,
        "--config",
        value="FILE|off",
        text="Read settings there.",
        show_default=FILE_NAME,
    ),
]


def share(
    path: SharedPath = None,
    expires: Expires = None,
    downloads: Downloads = None,
    url: BaseUrl = None,
    list_links: ListLinks = False,
    revoke: Revoke = None,
    store: Store = None,
    config: ConfigFile = None,
) -> int:
    """Print the URL of a new link to one file or folder: for all who have it, without a login.

    Servers with --share answer it, for as long and as many downloads as it is for. The settings are
    those of aserve.toml and the environment.
    """
    _check_purpose(path, revoke, list_links=list_links, options=(expires, downloads, url))
    configuration = read_configuration((), {} if config is None else {"config": config})
    links = _open(store, configuration.settings)
    try:
        if list_links:
            return _list(links)
        if revoke is not None:
            return _revoke(links, revoke)
        lifetime = _parse_lifetime(_USUAL_LIFETIME if expires is None else expires)
        limit = None if downloads is None else _parse_downloads(downloads)
        base = _base_url(configuration.settings) if url is None else _parse_url(url)
        return _add(links, _checked(Path(path or ""), configuration), lifetime, limit, base)
    except StoreError as error:
        print_message(f"error: {error}")
        return FAILED
    finally:
        links.close()


def _check_purpose(
    path: str | None, revoke: str | None, *, list_links: bool, options: Sequence[str | None]
) -> None:
    """Raise SettingsError unless the command is to do one thing."""
    given = [
        name
        for name, is_given in (
            ("PATH", path is not None),
            ("--list", list_links),
            ("--revoke", revoke is not None),
        )
        if is_given
    ]
    if not given:
        raise SettingsError("PATH", "is missing; see aserve share --help")
    if len(given) > 1:
        raise SettingsError(given[1], f"does not go with {given[0]}")
    names = zip(("--expires", "--downloads", "--url"), options, strict=True)
    if path is None and (name := next((name for name, text in names if text is not None), "")):
        raise SettingsError(name, "is for a new link, which needs a PATH")


def _open(store: str | None, settings: Settings) -> ShareStore:
    """Return the store of links. store: the file that an option names."""
    if store == "":
        raise SettingsError("--store", "must not be empty")
    share = store or settings.share or USUAL_STORE
    if reason := store_error(share):
        raise SettingsError("--share" if store is None else "--store", reason)
    return ShareStore(store_file(share))


def _checked(path: Path, configuration: Configuration) -> Path:
    """Return the absolute path of what is shared; raises SettingsError for what is not served.

    That is known where a file or a variable says what is served.
    """
    if not (path.is_file() or path.is_dir()):
        raise SettingsError("PATH", f"there is no file or folder {printable(str(path))}")
    file = Path(os.path.normpath(path.absolute()))
    settings = configuration.settings
    if configuration.sources.keys() & {"root", "sites"} or settings.sites:
        sites = settings.every_site
        if not any(_is_served(file, one) for one in sites):
            raise SettingsError("PATH", f"{printable(str(file))} is not served, or is hidden")
    return file


def _is_served(file: Path, settings: Settings) -> bool:
    paths = paths_in_site(settings.root, os.fsencode(file))
    return bool(paths) and settings.visibility.is_visible(paths[0].removeprefix(b"/"))


def _add(links: ShareStore, file: Path, lifetime: int | None, limit: int | None, base: str) -> int:
    now = int(time.time())
    expires = None if lifetime is None else now + lifetime
    token, link = links.add(os.fsencode(file), now, expires, limit)
    slash = "/" if file.is_dir() else ""
    print(f"{base}{PREFIX}{token}/{quote(link.name)}{slash}")
    count = "any number of" if limit is None else f"{limit:,}"
    downloads = "download" if limit == 1 else "downloads"
    end = f"to end it: aserve share --revoke {link.id}"
    print_message(f"for {count} {downloads}, {_until(link)}; {end}")
    return OK


def _list(links: ShareStore) -> int:
    now = int(time.time())
    for link in links.all_links(now):
        limit = "" if link.limit is None else f" of {link.limit:,}"
        ended = " (ended)" if link.has_ended(now) else ""
        path = printable(os.fsdecode(link.path))
        print(f"{link.id}  {_until(link):26}  {link.downloads:,}{limit} downloads{ended}  {path}")
    return OK


def _revoke(links: ShareStore, link_id: str) -> int:
    link = links.revoke(link_id)
    if link is None:
        raise SettingsError("--revoke", f"there is no link {link_id!r}; see aserve share --list")
    print(f"{link.id} of {printable(os.fsdecode(link.path))} is revoked")
    return OK


def _until(link: Link) -> str:
    if link.expires is None:
        return "without end"
    return f"until {datetime.fromtimestamp(link.expires, UTC):%Y-%m-%d %H:%M} UTC"


def _parse_lifetime(text: str) -> int | None:
    """Return seconds, None for never."""
    match = _LIFETIME.fullmatch(text)
    if not match and text != _NEVER:
        raise SettingsError("--expires", f"must be a time such as 30m, 12h or 7d, not {text!r}")
    return int(match[1]) * _SECONDS[match[2]] if match else None


def _parse_downloads(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(_MAX_DOWNLOADS))
    if not (is_number and 1 <= int(text) <= _MAX_DOWNLOADS):
        raise SettingsError("--downloads", f"must be from 1 to {_MAX_DOWNLOADS:,}, not {text!r}")
    return int(text)


def _parse_url(text: str) -> str:
    """Return the URL of a server without the slash at its end."""
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_whole = not (parts.query or parts.fragment or parts.username) and text.isprintable()
    except ValueError:
        is_url = is_whole = False
    if not (is_url and is_whole):
        raise SettingsError("--url", f"must be a URL such as https://files.test, not {text!r}")
    return text.rstrip("/")


def _base_url(settings: Settings) -> str:
    """Return the URL of the server that settings describe, or else of the one that runs."""
    port = settings.port
    if not port:
        running = find_servers()
        port = running[0].port if len(running) == 1 else DEFAULT_PORT
    return usual_url(settings, port).rstrip("/")
