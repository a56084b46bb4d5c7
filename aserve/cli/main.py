"""The command line: options, messages and exit codes. Nothing else prints."""

import errno
import fcntl
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from aserve.cli.limit_option import limits_help, parse_limits
from aserve.config.settings import (
    DEFAULT_HOST,
    RESPONSE_CACHE_SIZE,
    THREADS,
    Settings,
    SettingsError,
)
from aserve.observability.access_log import AccessLog, combined_format, terminal_format
from aserve.observability.log_file import LogFile, open_log
from aserve.server.cpus import available_cpus
from aserve.server.event_loops import USES_FALLBACK
from aserve.server.listeners import ListenError, lan_url, listen, url
from aserve.server.shutdown_report import RemainingReports, format_remaining
from aserve.server.signals import WORKER_SIGNALS, Signals, call_on_signal, program_signals
from aserve.server.supervisor import Supervisor
from aserve.server.worker import serve
from aserve.transport.observers import ReportRemaining
from aserve.transport.registry import DEFAULT, DISPATCHES, MODELS
from aserve.version import __version__

OK, FAILED, BAD_PARAMETER = 0, 1, 2

_MAX_DIGITS = 9
_STANDARD_OUTPUT = 1
_OTHER_NAMES = {"root": "DIR", "types": "--type", "limits": "--limit"}
_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

OpenLog = Callable[[], AccessLog | None]
"""Opens the access log, or returns None. Each worker calls it, because the log has a thread."""

_TYPER_OPTIONS: dict[str, Any] = {
    "add_completion": False,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
_app = typer.Typer(**_TYPER_OPTIONS)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run aserve. Exit codes: 0 stopped by a signal, 1 cannot serve, 2 bad parameter."""
    logging.basicConfig(format="aserve: %(message)s", level=logging.WARNING)
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        return _run_command(arguments)
    except TyperException as error:
        return _print_error(error.format_message(), BAD_PARAMETER)
    except SettingsError as error:
        return _print_error(f"{_option_name(error.setting)}: {error.reason}", BAD_PARAMETER)
    except ListenError as error:
        return _print_error(f"{_option_name(error.setting)}: {error.reason}", FAILED)
    except KeyboardInterrupt:
        return OK
    except Exception as error:  # noqa: BLE001 - the last boundary: one line and no traceback
        return _print_error(
            getattr(error, "strerror", None) or f"internal error: {error!r}", FAILED
        )


def _run_command(arguments: list[str]) -> int:
    """Serve, or run `aserve explain`, which is imported only then: it does not delay serving.

    A directory named explain can still be served: as `aserve explain` or `aserve ./explain`.
    """
    app, name = _app, "aserve"
    if arguments[:1] == ["explain"] and (len(arguments) > 1 or not Path("explain").is_dir()):
        app, name, arguments = typer.Typer(**_TYPER_OPTIONS), "aserve explain", arguments[1:]
        app.command()(import_module("aserve.explain.command").explain)
    return int(app(arguments, standalone_mode=False, prog_name=name) or OK)


def _option_name(setting: str) -> str:
    """Return a setting's name on the command line; other names are already spelled so."""
    if setting in {field.name for field in fields(Settings)}:
        return _OTHER_NAMES.get(setting, f"--{setting.replace('_', '-')}")
    return setting


def _print_error(reason: str, code: int) -> int:
    _print_message(f"error: {reason}")
    return code


def _print_message(line: str) -> None:
    _write_stderr(f"aserve: {line}")


def _write_stderr(text: str) -> None:
    """Write to standard error; a standard error that cannot be written is no reason to fail."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"aserve {__version__}")
        raise typer.Exit


@_app.command()
def _serve(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="The directory to serve.")] = ".",
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 or :: for all addresses.")
    ] = DEFAULT_HOST,
    port: Annotated[
        int | None,
        typer.Option(
            help="The port to listen on; 0 for any free one.",
            show_default="8000 or the next free",
        ),
    ] = None,
    workers: Annotated[
        str, typer.Option(metavar="N|auto", help="Worker processes; auto for one per CPU.")
    ] = "1",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    access_log: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-|off",
            help="Log requests there in the combined format; off: no log, not even on a terminal.",
        ),
    ] = None,
    allow_trace: Annotated[
        bool, typer.Option("--allow-trace", help="Answer TRACE, which echoes the request.")
    ] = False,
    allow_connect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Let CONNECT open tunnels to this address; repeatable."
        ),
    ] = None,
    response_cache: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE|off",
            help="Memory of each worker's response cache: bytes, or with K, M or G; off for none.",
            show_default="64M",
        ),
    ] = None,
    charset: Annotated[
        str,
        typer.Option(metavar="NAME|none", help="The charset parameter of text types, except XML."),
    ] = "utf-8",
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="SUFFIX=TYPE",
            help="Send files with this suffix as this media type; repeatable.",
        ),
    ] = None,
    decode_slashes: Annotated[
        bool, typer.Option("--decode-slashes", help="Treat %2F in a path as a slash, for npm.")
    ] = False,
    server_header: Annotated[
        bool,
        typer.Option(
            "--server-header/--no-server-header", help="Name the software in each response."
        ),
    ] = True,
    model: Annotated[
        str, typer.Option(metavar="NAME", help=f"The I/O model: {', '.join(MODELS)}.")
    ] = DEFAULT,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Threads in each worker's pool, for models with a pool.",
            show_default=str(THREADS),
        ),
    ] = None,
    dispatch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How the reactor hands work to its threads: {', '.join(DISPATCHES)}.",
            show_default=DISPATCHES[0],
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help=f"Change a limit; repeatable. {limits_help()}"),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> int:
    """Serve the files of a directory over HTTP/1.1.

    `aserve explain DIR PATH` shows what happens for one request.
    """
    _check_directory_argument(directory)
    settings = Settings(
        Path(directory),
        host,
        port,
        _parse_workers(workers),
        allow_trace=allow_trace,
        allow_connect=tuple(allow_connect or ()),
        response_cache=_parse_cache_size(response_cache),
        charset=charset,
        types=tuple(types or ()),
        decode_slashes=decode_slashes,
        server_header=server_header,
        model=model,
        threads=THREADS if threads is None else threads,
        dispatch=dispatch or DISPATCHES[0],
        limits=parse_limits(limit or ()),
    )
    _check_model_options(
        model,
        {
            "--threads": threads is not None,
            "--dispatch": dispatch,
            "--response-cache": response_cache is not None,
        },
    )
    open_log = _access_log_opener(access_log, quiet=quiet, is_shared=settings.workers > 1)
    listeners = listen(settings)
    # Blocked until each process has its handlers: a signal right after the banner must not be lost.
    signals = program_signals(has_log_file=access_log not in _NOT_REOPENED)
    blocked = signals.handled | WORKER_SIGNALS.handled | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    if USES_FALLBACK and settings.model == DEFAULT:
        _print_message(
            "uvloop is not available: serving on the standard library's event loop, which is slower"
        )
    if not quiet:
        _write_stderr(_banner(settings, listeners[0][0]))
    print_line = (
        _print_message if not quiet and sys.stderr and sys.stderr.isatty() else _discard_line
    )
    if settings.workers == 1:
        report_remaining = partial(_print_remaining, print_line)
        _run_worker(settings, open_log, signals, report_remaining, listeners[0], None)
        return OK
    remaining = RemainingReports(print_line)
    run_worker = partial(_run_worker, settings, open_log, WORKER_SIGNALS, remaining.send)
    return OK if Supervisor(listeners, run_worker, signals, remaining).run() else FAILED


def _check_directory_argument(name: str) -> None:
    """Reject what was probably meant for an option, and say for which; Settings checks the rest."""
    if not name:
        raise SettingsError("root", "must not be empty; . is the current directory")
    hint = ""
    if name.isdecimal():
        hint = f"to choose a port, use --port {name}"
    elif name in {"on", "off", "yes", "no", "true", "false"}:
        hint = "a flag takes no value"
    if hint and not Path(name).exists():
        raise SettingsError("root", f"there is no directory {name!r}; {hint}")


def _print_remaining(print_line: Callable[[str], None], responses: int, connections: int) -> None:
    if line := format_remaining(responses, connections):
        print_line(line)


def _discard_line(_line: str) -> None:
    """Print nothing: no user waits at a terminal."""


def _check_model_options(model: str, given: Mapping[str, object]) -> None:
    """Reject an option that the model does not use, and name the models that do."""
    for option, is_given in given.items():
        supported = [name for name, info in MODELS.items() if option in info.options]
        if is_given and model not in supported:
            models = ", ".join(supported)
            raise SettingsError(option, f"the model {model} does not use it; it is for {models}")


def _parse_workers(text: str) -> int:
    if text == "auto":
        return available_cpus()
    if not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise SettingsError("--workers", f"must be 'auto' or at least 1, not {text!r}")
    return int(text)


def _parse_cache_size(text: str | None) -> int:
    """Return the size in bytes; 0 for no cache."""
    if text is None:
        return RESPONSE_CACHE_SIZE
    if text == "off":
        return 0
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SIZE_UNITS else (text, "")
    if not (number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS):
        raise SettingsError(
            "--response-cache", f"must be a size such as 64M, or 'off', not {text!r}"
        )
    return int(number) * _SIZE_UNITS.get(unit, 1)


def _access_log_opener(target: str | None, *, quiet: bool, is_shared: bool) -> OpenLog:
    """Return what opens the access log; raises SettingsError now if that is not possible.

    is_shared: several workers write to the same log.
    """
    if target == "off":
        return lambda: None
    if target is None:
        if quiet or not sys.stdout or not sys.stdout.isatty():
            return lambda: None
        line_format = terminal_format(
            get_terminal_size().columns, use_color="NO_COLOR" not in os.environ
        )
        return lambda: AccessLog(LogFile(_STANDARD_OUTPUT), line_format, _print_message)
    descriptor, path = _log_target(target)
    open_file = partial(LogFile, descriptor, path, is_shared=is_shared)
    if is_shared and path and stat.S_ISREG(os.fstat(descriptor).st_mode):
        # The supervisor must not hold a file open after it was rotated away and deleted.
        os.close(descriptor)
        open_file = partial(_open_in_worker, path)
    return lambda: AccessLog(open_file(), combined_format, _print_message)


def _open_in_worker(path: str) -> LogFile:
    """Open a log file that could be opened at the start; if it cannot now, the log retries."""
    try:
        descriptor = open_log(path)
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
    return LogFile(descriptor, path, is_shared=True)


def _log_target(target: str) -> tuple[int, str]:
    """Return the descriptor for --access-log, and the path to reopen it by, "" for none."""
    if target in _OUTPUTS:
        return _standard_descriptor(target), ""
    if not target:
        raise SettingsError("--access-log", "must not be empty; use 'off' for no log")
    if hint := _FILE_NAME_HINTS.get(target.strip().lower()):
        raise SettingsError("--access-log", f"{hint}; for a file of this name use './{target}'")
    try:
        return open_log(target), os.path.abspath(target)  # noqa: PTH100
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENXIO and Path(target).is_fifo():
            reason = "it is a FIFO that nobody reads; start its reader first"
        raise SettingsError("--access-log", f"cannot write {target!r}: {reason}") from error


def _standard_descriptor(target: str) -> int:
    """Return the descriptor of standard output or error; raises SettingsError if not writable.

    It is used by number, because it may be impossible to open by name: it may be a socket or, in
    a container, the pipe of another user.
    """
    descriptor = _OUTPUTS[target]
    if descriptor == _STANDARD_OUTPUT and not sys.stdout:
        raise SettingsError("--access-log", f"{target!r} is standard output, which is closed")
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise SettingsError("--access-log", f"{target!r} is open for reading only")
    return descriptor


_OUTPUTS = {"-": _STANDARD_OUTPUT, "/dev/stdout": _STANDARD_OUTPUT, "/dev/stderr": 2}
_NOT_REOPENED = {None, "off", *_OUTPUTS}
_FILE_NAME_HINTS = dict.fromkeys(
    ("off", "none", "no", "false", "null", "disable", "disabled"), "use 'off'"
) | {
    "on": "use '-' for standard output",
    "yes": "use '-' for standard output",
    "true": "use '-' for standard output",
    "stdout": "use '-' for standard output",
    "stderr": "use /dev/stderr for standard error",
}
"""Words that are hardly meant as file names, and what to use instead."""


def _run_worker(
    settings: Settings,
    open_log: OpenLog,
    signals: Signals,
    report_remaining: ReportRemaining,
    listeners: Sequence[socket.socket],
    lifeline: int | None,
) -> None:
    """Run one worker, from its first connection to its last log line."""
    log = open_log()
    if log:
        call_on_signal(signals.reopen, partial(_reopen_or_stop, signals, log))
    try:
        serve(
            settings,
            listeners,
            log.record if log else None,
            signals.stop,
            lifeline,
            report_remaining,
        )
    finally:
        for number in signals.stop:  # so that another signal ends the wait for the log
            signal.signal(number, signal.SIG_DFL)
        if log:
            log.close(settings.grace)


def _reopen_or_stop(signals: Signals, log: AccessLog, number: int) -> None:
    if signals.stops(number):
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        log.reopen()


def _printable_path(path: Path) -> str:
    """Return a path as it is, or quoted if it has characters that are not printable."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _banner(settings: Settings, listener: socket.socket) -> str:
    """Return the banner: what is served, where, how to share it and how to stop."""
    address = url(listener)
    port_note = (
        "" if settings.port is not None or ":8000/" in address else "   (port 8000 is taken)"
    )
    share = lan_url(listener) or "with --host 0.0.0.0, others in your network can open it"
    return "\n".join(
        (
            f"aserve {__version__} serves {_printable_path(settings.root)}",
            f"  open   {address}{port_note}",
            f"  share  {share}",
            "  stop   Ctrl-C",
        )
    )
