"""`aserve DIR`: serves a directory until a signal stops it."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from operator import not_
from typing import Any, Unpack

from aserve.cli.access_log_option import NOT_REOPENED, OpenLog, access_log_opener
from aserve.cli.banner import format_banner, home_url
from aserve.cli.declarations import with_options
from aserve.cli.exit_codes import FAILED, OK
from aserve.cli.help import Rows
from aserve.cli.limit_option import limit_rows, parse_limits
from aserve.cli.messages import discard_line, print_message, write_stderr
from aserve.cli.options import (
    AccessLogTarget,
    Open,
    Paths,
    Quiet,
    SettingOptions,
    Version,
)
from aserve.cli.paths import parse_paths
from aserve.cli.values import (
    parse_bytes,
    parse_formats,
    parse_maximum,
    parse_names,
    parse_number,
    parse_size,
    parse_text,
    parse_workers,
)
from aserve.config.root import as_root
from aserve.config.settings import Settings, SettingsError, checked_root
from aserve.handlers.clean_urls import CONVENTIONS
from aserve.observability.access_log import AccessLog
from aserve.observability.log_process import LogProcess
from aserve.server.event_loops import USES_FALLBACK
from aserve.server.listeners import is_loopback, listen
from aserve.server.shutdown_report import RemainingReports, format_remaining
from aserve.server.signals import WORKER_SIGNALS, Signals, call_on_signal, program_signals
from aserve.server.site_factory import missing_pages
from aserve.server.supervisor import Supervisor
from aserve.server.worker import serve as run_server
from aserve.server.writers import find_unwritable
from aserve.transport.observers import ReportRemaining
from aserve.transport.registry import DEFAULT, MODELS, default_workers

SECTIONS: Mapping[str, Rows] = {
    "Limits, each with its default": limit_rows(),
    "URLs": [
        ("plain", "each URL is the path of a file"),
        *((name, convention.summary) for name, convention in CONVENTIONS.items()),
    ],
    "Where clients may write": [
        ("--write", "files are added, replaced and deleted anywhere"),
        ("--write=/in", "only below /in/; repeatable"),
        ("--write=add", "new names only: none is replaced or deleted"),
        ("--write=add:/in", "both"),
    ],
    "Models": [(name, info.summary) for name, info in MODELS.items()],
    "Examples": (
        ("aserve", "# this directory, on port 8000"),
        ("aserve -o www/", "# www/, and open it in the browser"),
        ("aserve film.mkv", "# one file, and nothing else"),
        ("aserve docs=/srv/docs www/", "# www/, with /srv/docs at /docs/"),
        ("aserve --spa dist/", "# a single-page app"),
        ("aserve --live www/", "# reload pages when a file changes"),
        ("aserve --write=/in www/", "# files may be uploaded to /in/"),
        ("aserve -p 80 --host 0.0.0.0 www/", "# to everyone in the network"),
        ("aserve -w auto --access-log access.log www/", "# a process per CPU, a log"),
        ("aserve --limit max-connections=500 www/", "# at most 500 connections"),
        ("aserve explain www/ /index.html", "# what happens for one request"),
    ),
}
"""What --help shows after the options."""

_PARSERS: Mapping[str, Callable[[Any], Any]] = {
    "port": partial(parse_number, "--port"),
    "threads": partial(parse_number, "--threads"),
    "workers": parse_workers,
    "response_cache": parse_size,
    "types": tuple,
    "index": parse_names,
    "spa": partial(parse_text, "--spa"),
    "error_page": tuple,
    "hide": tuple,
    "page_size": partial(parse_number, "--page-size"),
    "allow_connect": tuple,
    "limits": parse_limits,
    "readme": not_,
    "server_header": not_,
    "archive": parse_formats,
    "archive_max_bytes": partial(parse_maximum, "--archive-max-bytes"),
    "archive_max_files": partial(parse_maximum, "--archive-max-files"),
    "write": tuple,
    "max_upload": partial(parse_maximum, "--max-upload"),
    "quota": partial(parse_maximum, "--quota"),
    "min_free": partial(parse_bytes, "--min-free"),
    "fsync": not_,
}
"""How the text of an option becomes a setting, where that is no text itself."""


@with_options(SettingOptions)
def serve(
    paths: Paths = None,
    open_site: Open = False,
    access_log: AccessLogTarget = None,
    quiet: Quiet = False,
    _version: Version = False,
    **options: Unpack[SettingOptions],
) -> int:
    """Serve the files of a directory over HTTP/1.1."""
    settings = read_settings(paths or ["."], options)
    open_log = access_log_opener(access_log, quiet=quiet, is_shared=settings.workers > 1)
    listeners = listen(settings)
    if open_site:  # before signals are blocked, which the browser would inherit
        _open_site(home_url(settings.root, listeners[0][0]))
    # Blocked until each process has its handlers: a signal right after the banner must not be lost.
    signals = program_signals(has_log_file=access_log not in NOT_REOPENED)
    blocked = signals.handled | WORKER_SIGNALS.handled | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked | settings.model_info.signals)
    if not quiet:
        _print_start(settings, listeners[0])
    is_watched = not quiet and sys.stderr and sys.stderr.isatty()
    print_line = print_message if is_watched else discard_line
    return _run_workers(settings, open_log, signals, listeners, print_line)


def read_settings(paths: Sequence[str], options: SettingOptions) -> Settings:
    """Return the settings that the command line asks for; raises SettingsError."""
    root = checked_root(as_root, parse_paths(paths))
    values: dict[str, Any] = {
        name: _PARSERS[name](text) if name in _PARSERS else text for name, text in options.items()
    }
    values.setdefault("workers", default_workers(options.get("model", DEFAULT)))
    settings = Settings(root, **values)
    _check_model_options(settings, options)
    return settings


def _check_model_options(settings: Settings, options: Mapping[str, object]) -> None:
    """Reject an option that the model does not use, and name the models that do."""
    model = settings.described_model
    spellings = [f"--{name.replace('_', '-')}" for name in options]
    restricted = set().union(*(info.options for info in MODELS.values()))
    for option in spellings:
        if option in restricted - settings.model_info.options:
            models = ", ".join(name for name, info in MODELS.items() if option in info.options)
            raise SettingsError(option, f"{model} does not use it; it is for {models}")


def _open_site(address: str) -> None:
    open_browser = import_module("aserve.cli.browser").open_browser
    if not open_browser(address):
        print_message(f"--open: no graphical browser is found; open {address} yourself")


def _print_start(settings: Settings, listeners: Sequence[socket.socket]) -> None:
    if USES_FALLBACK and settings.model == DEFAULT:
        print_message(
            "uvloop is not available: serving on the standard library's event loop, which is slower"
        )
    for setting, reason in (*missing_pages(settings), *find_unwritable(settings)):
        print_message(f"--{setting.replace('_', '-')}: {reason}")
    if settings.write and not all(map(is_loopback, listeners)):
        print_message("--write: everyone who can reach this server may change its files: no login")
    write_stderr(format_banner(settings, listeners[0]))


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
