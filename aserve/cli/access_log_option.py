"""The option --access-log FILE|-|off: checked before the server starts, opened by each worker."""

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aserve.cli.messages import print_message
from aserve.config.settings import SettingsError

if TYPE_CHECKING:
    from aserve.observability.access_log import AccessLog
    from aserve.observability.log_formats import Formatter

_STANDARD_OUTPUT = 1
_REOPENED = -1  # in place of the descriptor of a file that each process opens itself


class LogOption(NamedTuple):
    """What decides where the access log goes, and in which format. target: of the option."""

    target: str | None
    quiet: bool

    def open(self, *, is_shared: bool) -> "OpenedLog | None":
        """Return what was opened, None for no log; raises SettingsError if it cannot be opened.

        is_shared: others than this process write to it.
        """
        if self.target == "off":
            return None
        if self.target is None:
            if self.quiet or not sys.stdout or not sys.stdout.isatty():
                return None
            from shutil import get_terminal_size

            from aserve.observability.log_formats import terminal_format

            columns, use_color = get_terminal_size().columns, "NO_COLOR" not in os.environ
            return OpenedLog(_STANDARD_OUTPUT, "", terminal_format(columns, use_color=use_color))
        from aserve.observability.log_formats import combined_format

        descriptor, path = _log_target(self.target)
        if is_shared and path and stat.S_ISREG(os.fstat(descriptor).st_mode):
            # What starts them must not hold a file open after it was rotated away and deleted.
            os.close(descriptor)
            descriptor = _REOPENED
        return OpenedLog(descriptor, path, combined_format, is_shared=is_shared)


class OpenedLog:
    """Where the access log goes, opened. Each worker begins to write, because a log has a thread.

    path: to reopen it by, "" for a descriptor that has none.
    """

    def __init__(
        self, descriptor: int, path: str, formatter: "Formatter", *, is_shared: bool = False
    ) -> None:
        self._descriptor, self._path, self._formatter = descriptor, path, formatter
        self._is_shared = is_shared
        self._is_in_use = False  # by this process

    def write(self) -> "AccessLog":
        """Return a log that writes to it in this process, to the end of both."""
        from aserve.observability.access_log import AccessLog
        from aserve.observability.log_file import LogFile

        self._is_in_use = True
        descriptor = _reopened(self._path) if self._descriptor == _REOPENED else self._descriptor
        file = LogFile(descriptor, self._path, is_shared=self._is_shared)
        return AccessLog(file, self._formatter, print_message)

    def close(self) -> None:
        """Close it, unless this process writes to it."""
        if self._path and not self._is_in_use and self._descriptor != _REOPENED:
            os.close(self._descriptor)


def _reopened(path: str) -> int:
    """Open a log file that could be opened before; if it cannot be opened now, the log retries."""
    from aserve.observability.log_file import open_log

    try:
        return open_log(path)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _log_target(target: str) -> tuple[int, str]:
    """Return the descriptor for --access-log, and the path to reopen it by, "" for none."""
    if target in _OUTPUTS:
        return _standard_descriptor(target), ""
    from aserve.observability.log_file import open_log

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
