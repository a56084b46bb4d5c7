"""Serves what the command line asks for until a signal stops it."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from aserve.cli.banner import format_banner, home_url
from aserve.cli.current_configuration import CurrentConfiguration
from aserve.cli.exit_codes import OK
from aserve.cli.messages import discard_line, print_message, write_stderr
from aserve.cli.running import run
from aserve.config.config_file import FILE_NAME
from aserve.config.configuration import (
    NO_FILE,
    Configuration,
    label_of,
    named_by,
    read_configuration,
)
from aserve.config.settings import Settings, SettingsError
from aserve.filesystem.rule_files import format_problems
from aserve.server.certificates import open_certificates
from aserve.server.control import WatchedFiles
from aserve.server.control_socket import ControlSocket, open_control_socket
from aserve.server.event_loops import USES_FALLBACK
from aserve.server.inheritance import Inherited, take_inherited
from aserve.server.listener_groups import ListenerGroups
from aserve.server.listeners import check_same_address, is_loopback, listen, port_of
from aserve.server.reloading import Reloading
from aserve.server.signals import RETIRE_WORKER, WORKER_SIGNALS, program_signals
from aserve.server.site_factory import missing_pages
from aserve.server.writing import unwritable_areas
from aserve.transport.registry import DEFAULT

if TYPE_CHECKING:
    from aserve.cli.options import CommandOptions
    from aserve.server.auto_stop import AutoStop
    from aserve.server.service_manager import ServiceManager


def serve_site(paths: Sequence[str], options: "CommandOptions") -> int:
    """Serve what the command line asks for; return the exit code."""
    configuration = read_configuration(paths, options)
    if configuration.watch_config and options.get("config") == NO_FILE:
        raise SettingsError("--watch-config", "has no effect with --config off")
    if configuration.settings.unix_address:
        _check_unix_options(configuration)
    with named_by(configuration.sources):
        return _serve(configuration, CurrentConfiguration(configuration, paths, options))


def _check_unix_options(configuration: Configuration) -> None:
    """Reject options of the program that a Unix socket has no use for."""
    if configuration.open:
        raise SettingsError("--open", "no browser opens a Unix socket")
    if configuration.port_file:
        raise SettingsError("--port-file", "a Unix socket has no port")


def read_settings(paths: Sequence[str], options: "CommandOptions") -> Settings:
    """Return the settings that command line, environment and file ask for now."""
    return read_configuration(paths, options).settings


def _serve(configuration: Configuration, current: CurrentConfiguration) -> int:
    # The modules stay: 10,000 rules take a third more while the garbage collector looks at them.
    gc.freeze()
    gc.enable()
    watched = WatchedFiles(_files_of(configuration) if configuration.watch_config else ())
    settings, quiet = configuration.settings, configuration.quiet
    inherited = take_inherited()
    if inherited and inherited.check:
        check_same_address(*inherited.check, settings)
        return OK
    open_certificates(settings)  # what is wrong with them is said before the banner
    groups = _open_listeners(settings, inherited)
    listeners = groups.groups[0]
    has_port = bool(port_of(listeners[0]))
    # Before signals are blocked: a browser inherits them.
    if configuration.open and has_port and not inherited:
        _open_site(home_url(settings, listeners[0]))
    # Blocked until each process has its handlers: a signal right after the banner must not be lost.
    signals = program_signals()
    blocked = signals.handled | WORKER_SIGNALS.handled | {RETIRE_WORKER, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked | settings.model_info.signals)
    legacy = inherited or Inherited()
    control_socket = _open_control_socket(listeners[0], legacy)
    reloading = Reloading(current, watched, control_socket, legacy, _find_service_manager())
    reloading = reloading._replace(auto_stop=_auto_stop(configuration, legacy))
    with _port_file(configuration, listeners[0], inherited) as on_move:
        if not (quiet or inherited):
            _print_start(configuration, groups)
        is_watched = not quiet and sys.stderr and sys.stderr.isatty()
        print_line = print_message if is_watched else discard_line
        reloading = reloading._replace(on_move=on_move)
        return run(settings, current, signals, groups, print_line, reloading)


def _open_listeners(settings: Settings, inherited: Inherited | None) -> ListenerGroups:
    """Return the sockets of the program before this one, of a service manager, or new ones."""
    if inherited:
        return ListenerGroups(inherited.open_listeners(), is_activated=inherited.is_activated)
    if "LISTEN_FDS" in os.environ:
        from aserve.server.activation import take_activated_sockets

        if activated := take_activated_sockets(settings):
            return ListenerGroups([activated], is_activated=True)
    return ListenerGroups(listen(settings))


def _find_service_manager() -> "ServiceManager | None":
    if "NOTIFY_SOCKET" not in os.environ:
        return None
    from aserve.server.service_manager import find_service_manager

    return find_service_manager()


def _files_of(configuration: Configuration) -> Iterator[Path]:
    """Yield the configuration file, and the files of passwords that it names."""
    yield _file_of(configuration)
    every_site = configuration.settings, *configuration.settings.every_site
    yield from dict.fromkeys(Path(site.htpasswd) for site in every_site if site.htpasswd)


def _file_of(configuration: Configuration) -> Path:
    """Return the configuration file: the one that is used, or would be if it were there."""
    return configuration.file.file if configuration.file else Path(FILE_NAME)


def _open_control_socket(listener: socket.socket, inherited: Inherited) -> ControlSocket | None:
    """Return the socket of `aserve reload`; None for a worker, which another program manages."""
    port = port_of(listener)
    return None if inherited.is_worker else open_control_socket(port, inherited.control)


def _auto_stop(configuration: Configuration, inherited: Inherited) -> "AutoStop | None":
    """Return what ends the server by itself, None for nothing."""
    after, idle = configuration.stop_after, configuration.idle_exit
    if not (any(after) or idle):
        for descriptor in inherited.auto_stop:
            os.close(descriptor)
        return None
    from aserve.linux.tcp_connections import can_tell
    from aserve.server.auto_stop import AutoStop, StopConditions

    if idle and not can_tell():
        raise SettingsError("idle_exit", "needs /proc/net/tcp, by which it sees who is connected")
    return AutoStop(StopConditions(after, idle), inherited.auto_stop)


def _port_file(
    configuration: Configuration, listener: socket.socket, inherited: Inherited | None
) -> AbstractContextManager[Callable[[int], object]]:
    """Return what has a file with the port in a block, if one is asked for."""
    if not configuration.port_file or (inherited and inherited.is_worker):
        return nullcontext(lambda _port: None)
    from aserve.cli.port_file import port_file

    return port_file(configuration.port_file, port_of(listener), is_first=not inherited)


def _open_site(address: str) -> None:
    from aserve.cli.browser import open_browser

    if not open_browser(address):
        print_message(f"--open: no graphical browser is found; open {address} yourself")


def _print_start(configuration: Configuration, groups: ListenerGroups) -> None:
    settings, listeners = configuration.settings, groups.groups[0]
    if USES_FALLBACK and settings.model == DEFAULT:
        print_message(
            "uvloop is not available: serving on the standard library's event loop, which is slower"
        )
    for line in dict.fromkeys(_problems(settings)):
        print_message(line)
    for setting, reason in _risks(configuration, listeners):
        print_message(f"{label_of(setting, configuration.sources)}: {reason}")
    file = configuration.file.file if configuration.file else None
    is_activated = groups.is_activated
    if not configuration.lan:
        write_stderr(format_banner(settings, listeners[0], file, is_activated=is_activated))
        return
    from aserve.cli.lan import format_codes
    from aserve.server.lan_addresses import lan_urls

    origins = lan_urls(list(filter(port_of, listeners)), settings.scheme)
    write_stderr(format_banner(settings, listeners[0], file, origins, is_activated=is_activated))
    if codes := list(format_codes(settings, origins)):
        write_stderr("\n".join(codes))


def _risks(
    configuration: Configuration, listeners: Sequence[socket.socket]
) -> Iterator[tuple[str, str]]:
    """Yield what a user should know, by settings, where others can reach the server."""
    if all(map(is_loopback, listeners)):
        return
    from aserve.server.exposure import risks_beyond_this_machine, risks_in_the_network

    risks = risks_in_the_network if configuration.lan else risks_beyond_this_machine
    yield from risks(configuration.settings)


def _problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with each site, and with its paths, as far as it can be served."""
    for site in settings.every_site:
        for one in (site, *(paths.settings for paths in site.paths)):
            for setting, reason in (*missing_pages(one), *unwritable_areas(one)):
                yield f"{label_of(setting, one.sources)}: {reason}"
        yield from format_problems(site.read_rules().problems)
