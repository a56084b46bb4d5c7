"""What is risky in a configuration that can work, and what has no effect in it."""

import os
import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from aserve.access.rates import parse_rate
from aserve.config.access import url_of
from aserve.config.config_file import FILE_NAME
from aserve.config.configuration import Configuration, label_of
from aserve.config.cpus import available_cpus
from aserve.config.headers import parse_header_rules
from aserve.config.names import key_of, option_source
from aserve.config.root import shown_path
from aserve.config.settings import Settings
from aserve.config.virtual_hosts import ANY_HOST, OF_A_ROOT
from aserve.http.origins import ANY
from aserve.http.path_globs import covers, unmatched_part
from aserve.http1.limits import UNLIMITED
from aserve.server.certificates import certificate_warnings, chain_warnings
from aserve.server.exposure import OPEN, is_open, password_settings, risks_of
from aserve.server.listeners import ListenError, is_for_this_machine
from aserve.server.proxy_warnings import warnings_behind_proxy, warnings_of_trust
from aserve.server.site_factory import missing_pages
from aserve.server.writers import find_unwritable

Warnings = Iterator[tuple[str, str]]
"""A setting, and what is risky in it, or why it has no effect."""

_DECODED = "paths are compared as they are decoded"
_BURST_OF_A_PAGE = 20  # with its scripts, styles and images
_LONG_S = 600  # seconds for which a changed page may stay unseen
_OF_LISTINGS = ("page_size", "readme", "title", "archive")
_OF_ARCHIVES = ("archive_max_bytes", "archive_max_files")
_OF_SLOW_CLIENTS = ("header_timeout", "keepalive_timeout", "transfer_timeout")


def find_warnings(configuration: Configuration) -> Warnings:
    """Yield what a user should know before the server runs with a configuration.

    What is of a site is named by the place where it was set, not by the setting.
    """
    found = (
        (label_of(setting, part.settings.sources), reason)
        for part in _parts(configuration)
        for check in _CHECKS
        for setting, reason in check(part)
    )
    yield from dict.fromkeys((*_without_root(configuration), *found))


def _without_root(configuration: Configuration) -> Warnings:
    """Yield what is said of a root where there are only sites."""
    if not configuration.settings.root:
        for setting in sorted(configuration.sources.keys() & {*OF_A_ROOT, "allowed_hosts"}):
            label = configuration.sources[setting].label
            yield label, "has no effect: there is no root beside the sites"


def _parts(configuration: Configuration) -> Iterator[Configuration]:
    """Yield what is set for the root, for each site, and for the paths of each."""
    settings = configuration.settings
    sites = [(one.settings, one.sources) for one in settings.sites]
    for site, sources in ((settings, configuration.sources), *sites):
        if site.root:
            yield configuration._replace(settings=site, sources=sources)
        for paths in site.paths:
            yield configuration._replace(settings=paths.settings, sources=paths.sources)


def _missing(configuration: Configuration) -> Warnings:
    yield from missing_pages(configuration.settings)
    yield from find_unwritable(configuration.settings)


def _rules(configuration: Configuration) -> Warnings:
    for problem in configuration.settings.read_rules().problems:
        yield "rules", str(problem)


def _reachable(configuration: Configuration) -> Warnings:
    """Yield what is fine on a machine's own addresses, but not where others can reach it."""
    if address := configuration.settings.unix_address:  # which no browser reaches
        if address.mode & stat.S_IWOTH:
            yield "host", f"everyone on this machine may connect to {address.name}"
        yield from warnings_behind_proxy(configuration.settings)
        return
    try:
        if is_for_this_machine(configuration.settings.host):
            yield from _rebinding(configuration)
            yield from _other_sites(configuration)
            yield from warnings_behind_proxy(configuration.settings)
        else:
            yield from warnings_of_trust(configuration.settings)
            yield from _exposed(configuration.settings)
            yield from _slow_clients(configuration.settings)
            if configuration.lan and is_open(configuration.settings):
                yield "lan", OPEN
    except ListenError as error:
        yield error.setting, error.reason


def _exposed(settings: Settings) -> Warnings:
    yield from risks_of(settings)
    if settings.allow_connect:
        allowed = ", ".join(settings.allow_connect)
        yield "allow_connect", f"everyone who can reach this server can reach {allowed} through it"
    if settings.live:
        yield "live", "is for development: it adds a script to every page"


def _logins(configuration: Configuration) -> Warnings:
    settings, sources = configuration.settings, configuration.sources
    if settings.auth and sources.get("auth") == option_source("auth"):
        yield "auth", "everyone on this machine can see it in the list of processes: ASERVE_AUTH"
    if settings.htpasswd and Path(settings.htpasswd).stat().st_mode & stat.S_IWOTH:
        yield "htpasswd", f"everyone on this machine may change {settings.htpasswd}"
    if settings.users and settings.access_rules is None:
        for setting in password_settings(settings):
            yield setting, "has no effect: anyone may read and write"
    if settings.writers and not settings.write:
        yield "writers", "has no effect where nothing can be written to"


def _rebinding(configuration: Configuration) -> Warnings:
    settings = configuration.settings
    if "allowed_hosts" in configuration.sources and settings.allowed_hosts == (ANY_HOST,):
        yield "allowed_hosts", "any page on the web can read this site by a name that it leads here"


def _other_sites(configuration: Configuration) -> Warnings:
    """Yield what pages of other sites may do that a user may not have meant."""
    settings = configuration.settings
    if settings.cors == (ANY,) and is_for_this_machine(settings.host):
        yield "cors", "any page on the web that this machine's browser opens can read these files"


def _writers(configuration: Configuration) -> Warnings:
    settings = configuration.settings
    if settings.write and settings.cors not in {(), (ANY,)}:
        yield "cors", f"pages of {', '.join(settings.cors)} may change files as well"


def _caching(configuration: Configuration) -> Warnings:
    cache = configuration.settings.cache
    if isinstance(cache, int) and cache > _LONG_S:
        yield "cache", f"a page that changes is not seen for up to {cache:,} seconds"


def _slow_clients(settings: Settings) -> Warnings:
    for name in _OF_SLOW_CLIENTS:
        if getattr(settings.limits, name) == UNLIMITED:
            yield "limits", f"{key_of(name)}: slow clients can hold all connections for ever"
    if settings.limits.min_rate == 0:
        yield "limits", "min-rate: clients that hardly read can hold all connections for ever"


def _root(configuration: Configuration) -> Warnings:
    for name, path in _served(configuration.settings):
        at = f"{shown_path(name)}: " if name else ""
        if path == Path("/"):
            yield "root", f"{at}is the whole file system"
        elif str(path) == os.path.expanduser("~"):  # noqa: PTH111 - Path fails where there is none
            yield "root", f"{at}is your home directory"
        elif (path / ".ssh").is_dir():
            yield "root", f"{at}is a home directory: .ssh is in it"
        if _is_another_file(path / FILE_NAME, configuration):
            yield "root", f"{at}its {FILE_NAME} is not used: use --config {path / FILE_NAME}"


def _visibility(configuration: Configuration) -> Warnings:
    settings = configuration.settings
    if settings.symlinks == "all":
        yield "symlinks", "a link can lead to any file that the server may read"
    if settings.dotfiles:
        yield "dotfiles", "what begins with a dot is often not meant for others"
    for name in settings.index_names:
        if settings.visibility.find_hidden(b"/" + name):
            yield "hide", f"hides {os.fsdecode(name)!r}, so that no folder has this index"


def _own_files(configuration: Configuration) -> Warnings:
    """Yield what clients can read that is meant for the server alone."""
    log, file, settings = configuration.access_log, configuration.file, configuration.settings
    if log and log not in {"off", "-"}:
        if not _can_be_written(Path(log)):
            yield "access_log", f"cannot write {log!r}: the server does not start"
        elif place := url_of(Path(log), settings.root, settings.visibility):
            yield "access_log", f"is served at {place}"
    if file and (place := url_of(file.file, settings.root, settings.visibility)):
        yield "--config", f"{file.file} is served at {place}"
    if file and file.file.exists() and file.file.stat().st_mode & stat.S_IWOTH:
        yield "--config", f"everyone on this machine may change {file.file}"


def _without_effect(configuration: Configuration) -> Warnings:
    settings, given = configuration.settings, configuration.sources
    is_listed = settings.listing == "on" or (settings.listing == "auto" and not settings.spa)
    for name in _OF_LISTINGS if not is_listed else ():
        if name in given:
            yield name, "has no effect where no folder is listed"
    for name in _OF_ARCHIVES if not (is_listed and settings.archive) else ():
        if name in given:
            yield name, "has no effect where there are no archives"
    if settings.allow_trace:
        yield "allow_trace", "echoes what a client sends; it is only good for tests"


def _paths(configuration: Configuration) -> Warnings:
    """Yield the globs that match no path, or that an earlier one leaves nothing for."""
    earlier: list[str] = []
    for paths in configuration.settings.paths:
        source = paths.sources.get("match")
        label = source.label if source else "paths"
        if part := unmatched_part(paths.match):
            yield label, f"has {part!r}, but {_DECODED}"
        elif any(covers(one, paths.match) for one in earlier):
            yield label, "never decides: an earlier one matches"
        earlier.append(paths.match)
    for rule in parse_header_rules(configuration.settings.headers):
        if part := unmatched_part(rule.match):
            yield "headers", f"{rule.match} has {part!r}, but {_DECODED}"


def _resources(configuration: Configuration) -> Warnings:
    settings, cpus = configuration.settings, available_cpus()
    if settings.workers > cpus and not settings.model_info.shares_listeners:
        yield "workers", f"{settings.workers} processes share {cpus} CPU{'s' * (cpus > 1)}"
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < settings.limits.max_connections < UNLIMITED:
        reason = f"the system allows {files} open files"
        yield "limits", f"max-connections: {settings.limits.max_connections}, but {reason}"
    if settings.limits.max_body == UNLIMITED:
        yield "limits", "max-body: a body that is not wanted is read to its end, however long"


def _writing(configuration: Configuration) -> Warnings:
    settings = configuration.settings
    if not settings.write:
        return
    if not settings.fsync:
        yield "fsync", "an upload that was answered is lost if the power fails soon after"
    if settings.min_free == 0:
        yield "min_free", "uploads can fill the disk, which stops more than uploads"
    for name, path in _served(settings):
        if path.is_dir() and shutil.disk_usage(path).free < settings.min_free:
            yield "min_free", f"less is free at {shown_path(name)}: every upload is answered 507"


def _rates(configuration: Configuration) -> Warnings:
    rate = configuration.settings.rate
    if rate and (burst := parse_rate(rate).burst) < _BURST_OF_A_PAGE:
        yield "rate", f"a browser that loads a page may send more than {burst} requests at once"


def _tls(configuration: Configuration) -> Warnings:
    settings = configuration.settings
    yield from certificate_warnings(settings, time.time())
    yield from chain_warnings(settings)
    is_out_of_reach = settings.proxy_trust or settings.unix_address
    if settings.hsts and not is_out_of_reach and is_for_this_machine(settings.host):
        yield "hsts", "browsers will refuse http on all ports of these host names"


_CHECKS: tuple[Callable[[Configuration], Warnings], ...] = (
    _missing,
    _rules,
    _reachable,
    _writers,
    _logins,
    _caching,
    _root,
    _visibility,
    _own_files,
    _without_effect,
    _paths,
    _resources,
    _writing,
    _rates,
    _tls,
)


def _served(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield what is served and its name in URLs."""
    if isinstance(settings.root, Path):
        yield "", settings.root
    else:
        yield from settings.root.items()


def _can_be_written(file: Path) -> bool:
    """Tell whether a file can be opened to write, or be made."""
    if file.exists():
        return not file.is_dir() and os.access(file, os.W_OK)
    return file.parent.is_dir() and os.access(file.parent, os.W_OK | os.X_OK)


def _is_another_file(path: Path, configuration: Configuration) -> bool:
    """Tell whether there is a configuration at a path that is not the one in use."""
    used = configuration.file
    return path.is_file() and not (used and used.file.exists() and path.samefile(used.file))
