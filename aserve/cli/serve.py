"""`aserve DIR`: serves a directory until a signal stops it."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Unpack

from aserve.cli.access_log_option import NOT_REOPENED, OpenLog, access_log_opener
from aserve.cli.banner import format_banner, home_url
from aserve.cli.declarations import with_options
from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.help import Rows
from aserve.cli.messages import discard_line, print_message, write_stderr
from aserve.cli.options import CommandOptions, Paths, Version
from aserve.config.configuration import Configuration, label_of, named_by, read_configuration
from aserve.config.limit_values import limit_rows
from aserve.config.settings import Settings
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.observability.access_log import AccessLog
from aserve.observability.log_process import LogProcess
from aserve.server.event_loops import USES_FALLBACK
from aserve.server.listeners import is_loopback, listen
from aserve.server.setting_warnings import NO_LOGIN
from aserve.server.shutdown_report import RemainingReports, format_remaining
from aserve.server.signals import WORKER_SIGNALS, Signals, call_on_signal, program_signals
from aserve.server.site_factory import missing_pages
from aserve.server.supervisor import Supervisor
from aserve.server.worker import serve as run_server
from aserve.server.writers import find_unwritable
from aserve.transport.observers import ReportRemaining
from aserve.transport.registry import DEFAULT, MODELS

SECTIONS: Mapping[str, Rows] = {
    "Limits, each with its default": limit_rows(),
    "URLs": [
        ("plain", "each URL is the path of a file"),
        *((name, convention.summary) for name, convention in CONVENTIONS.items()),
    ],
    "Headers by path": [
        ("--header '/* X-Frame-Options: DENY'", "of all responses"),
        ("--header '*.{mp3,ogg} Cache-Control: max-age=60'", "* is anything, / too"),
        ("--header '/docs/* X-Frame-Options:'", "removed; the last rule wins"),
    ],
    "Where clients may write": [
        ("--write", "files are added, replaced and deleted anywhere"),
        ("--write=/in", "only below /in/; repeatable"),
        ("--write=add", "new names only: none is replaced or deleted"),
        ("--write=add:/in", "both"),
    ],
    "Host names that are answered": [
        ("any", "all; the default, unless there is a terminal"),
        ("local", "localhost, *.localhost, addresses, names of this machine"),
        ("a.test,*.b.test", "these, and the local ones"),
    ],
    "Models": [(name, info.summary) for name, info in MODELS.items()],
    "Examples": (
        ("aserve", "# this directory, on port 8000"),
        ("aserve -o www/", "# www/, and open it in the browser"),
        ("aserve film.mkv", "# one file, and nothing else"),
        ("aserve docs=/srv/docs www/", "# www/, with /srv/docs at /docs/"),
        ("aserve --spa dist/", "# a single-page app"),
        ("aserve --cors --cache 60 www/", "# for pages of other sites"),
        ("aserve --live www/", "# reload pages when a file changes"),
        ("aserve --write=/in www/", "# files may be uploaded to /in/"),
        ("aserve -p 80 --host 0.0.0.0 www/", "# to everyone in the network"),
        ("aserve -w auto --access-log access.log www/", "# a process per CPU, a log"),
        ("aserve --limit max-connections=500 www/", "# at most 500 connections"),
        ("aserve explain www/ /index.html", "# what happens for one request"),
    ),
}
"""What --help shows after the options."""


@with_options(CommandOptions)
def serve(paths: Paths = None, _version: Version = False, **options: Unpack[CommandOptions]) -> int:
    """Serve the files of a directory over HTTP/1.1."""
    configuration = read_configuration(paths or (), options)
    with named_by(configuration.sources):
        return _serve(configuration)


def read_settings(paths: Sequence[str], options: CommandOptions) -> Settings:
    """Return the settings that command line, environment and file ask for now."""
    return read_configuration(paths, options).settings


def _serve(configuration: Configuration) -> int:
    settings, quiet = configuration.settings, configuration.quiet
    is_shared = settings.workers > 1
    open_log = access_log_opener(configuration.access_log, quiet=quiet, is_shared=is_shared)
    listeners = listen(settings)
    if configuration.open:  # before signals are blocked, which the browser would inherit
        _open_site(home_url(settings, listeners[0][0]))
    # Blocked until each process has its handlers: a signal right after the banner must not be lost.
    signals = program_signals(has_log_file=configuration.access_log not in NOT_REOPENED)
    blocked = signals.handled | WORKER_SIGNALS.handled | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked | settings.model_info.signals)
    if not quiet:
        _print_start(configuration, listeners[0])
    is_watched = not quiet and sys.stderr and sys.stderr.isatty()
    print_line = print_message if is_watched else discard_line
    return _run_workers(settings, open_log, signals, listeners, print_line)


def _open_site(address: str) -> None:
    open_browser = import_module("aserve.cli.browser").open_browser
    if not open_browser(address):
        print_message(f"--open: no graphical browser is found; open {address} yourself")


def _print_start(configuration: Configuration, listeners: Sequence[socket.socket]) -> None:
    settings = configuration.settings
    if USES_FALLBACK and settings.model == DEFAULT:
        print_message(
            "uvloop is not available: serving on the standard library's event loop, which is slower"
        )
    for line in dict.fromkeys(_problems(settings)):
        print_message(line)
    can_write = any(site.write for site in settings.every_site)
    if can_write and not all(map(is_loopback, listeners)):
        print_message(f"{label_of('write', configuration.sources)}: {NO_LOGIN}")
    file = configuration.file.file if configuration.file else None
    write_stderr(format_banner(settings, listeners[0], file))


def _problems(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with each site, and with its paths, as far as it can be served."""
    for site in settings.every_site:
        for one in (site, *(paths.settings for paths in site.paths)):
            for setting, reason in (*missing_pages(one), *find_unwritable(one)):
                yield f"{label_of(setting, one.sources)}: {reason}"


def _run_workers(
    settings: Settings,
    open_log: OpenLog | None,
    signals: Signals,
    listeners: Sequence[Sequence[socket.socket]],
    print_line: Callable[[str], None],
) -> int:
    """Serve in this process, or in several under a supervisor; return the exit code."""
    if settings.workers == 1 and not settings.model_info.forks:
        report_remaining = partial(_print_remaining, print_line)
        _run_worker(settings, open_log, signals, report_remaining, listeners[0], None)
        return OK
    remaining = RemainingReports(print_line)
    run_worker = partial(_run_worker, settings, open_log, WORKER_SIGNALS, remaining.send)
    return OK if Supervisor(listeners, run_worker, signals, remaining).run() else FAILED


def _print_remaining(print_line: Callable[[str], None], responses: int, connections: int) -> None:
    if line := format_remaining(responses, connections):
        print_line(line)


def _run_worker(
    settings: Settings,
    open_log: OpenLog | None,
    signals: Signals,
    report_remaining: ReportRemaining,
    listeners: Sequence[socket.socket],
    lifeline: int | None,
) -> None:
    """Run one worker, from its first connection to its last log line."""
    log: AccessLog | LogProcess | None = None
    if open_log and settings.model_info.forks:
        log = LogProcess(partial(_open_log, open_log, signals), settings.grace, signals.reopen)
    elif open_log:
        log = _open_log(open_log, signals)
    observer = log.record if isinstance(log, AccessLog) else log
    try:
        run_server(settings, listeners, observer, signals.stop, lifeline, report_remaining)
    finally:
        for number in signals.stop:  # so that another signal ends the wait for the log
            signal.signal(number, signal.SIG_DFL)
        if log:
            log.close(settings.grace)


def _open_log(open_log: OpenLog, signals: Signals) -> AccessLog:
    """Open the log, and have a thread wait for the signals that reopen it."""
    log = open_log()
    call_on_signal(signals.reopen, partial(_reopen_or_stop, signals, log))
    return log


def _reopen_or_stop(signals: Signals, log: AccessLog, number: int) -> None:
    if signals.stops(number):
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        log.reopen()
