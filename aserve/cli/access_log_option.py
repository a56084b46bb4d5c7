"""The option --access-log FILE|-|off: checked before the server starts, opened by each worker."""

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import get_terminal_size

from aserve.cli.messages import print_message
from aserve.config.settings import SettingsError
from aserve.observability.access_log import AccessLog
from aserve.observability.log_file import LogFile, open_log
from aserve.observability.log_formats import combined_format, terminal_format

OpenLog = Callable[[], AccessLog]
"""Opens the access log. Each worker calls it, because the log has a thread."""

_STANDARD_OUTPUT = 1


def access_log_opener(target: str | None, *, quiet: bool, is_shared: bool) -> OpenLog | None:
    """Return what opens the access log, None for no log.

    Raises SettingsError now if it cannot be opened.
    is_shared: several workers write to the same log.
    """
    if target == "off":
        return None
    if target is None:
        if quiet or not sys.stdout or not sys.stdout.isatty():
            return None
        line_format = terminal_format(
            get_terminal_size().columns, use_color="NO_COLOR" not in os.environ
        )
        return lambda: AccessLog(LogFile(_STANDARD_OUTPUT), line_format, print_message)
    descriptor, path = _log_target(target)
    open_file = partial(LogFile, descriptor, path, is_shared=is_shared)
    if is_shared and path and stat.S_ISREG(os.fstat(descriptor).st_mode):
        # The supervisor must not hold a file open after it was rotated away and deleted.
        os.close(descriptor)
        open_file = partial(_open_in_worker, path)
    return lambda: AccessLog(open_file(), combined_format, print_message)


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
    try:
        return open_log(target), os.path.abspath(target)  # noqa: PTH100
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.ENXIO and Path(target).is_fifo():
            reason = "it is a FIFO without a reader; start the reader first"
        raise SettingsError("access_log", f"cannot write {target!r}: {reason}") from error


def _standard_descriptor(target: str) -> int:
    """Return the descriptor of standard output or error; raises SettingsError if not writable.

    It is used by number, because it may be impossible to open by name: it may be a socket or, in
    a container, the pipe of another user.
    """
    descriptor = _OUTPUTS[target]
    if descriptor == _STANDARD_OUTPUT and not sys.stdout:
        raise SettingsError("access_log", f"{target!r} is standard output, which is closed")
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise SettingsError("access_log", f"{target!r} is open for reading only")
    return descriptor


_OUTPUTS = {"-": _STANDARD_OUTPUT, "/dev/stdout": _STANDARD_OUTPUT, "/dev/stderr": 2}
