"""What both programs that measure share: how they begin, show progress, and are stopped."""

import os
import signal
from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.processes import allow_descriptors
from benchmarks.servers import LOAD_CORE

INTERRUPTED = 130
"""The exit code after Ctrl-C."""

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WIDE = 140
"""Columns of a table that goes to a file."""

told = Console(stderr=True)


def prepare() -> None:
    """Allow many descriptors, leave the server's core, and raise KeyboardInterrupt when stopped."""
    allow_descriptors()
    with suppress(OSError):  # this process is load, too; one core is not enough
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    for number in _STOP:
        signal.signal(number, _stop)


def _stop(*_: object) -> None:
    """Stop at the first signal, and ignore others while processes are being ended."""
    for number in _STOP:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def progress_bar() -> Progress:
    """Return a bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=told, redirect_stdout=False)


def table_console(*, is_terminal: bool) -> Console:
    """Return where tables go: above the bar on a terminal; a pipe or file gets only tables."""
    return told if is_terminal else Console(width=_WIDE)
