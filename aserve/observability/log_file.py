"""The file of a log. It may be rotated, fill its disk, or be a pipe that is not read.

Whatever happens, a line is written whole or not at all, and lines that cannot be written are kept.
"""

import errno
import fcntl
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIPE_BUF = 4_096
"""How many bytes a pipe takes whole, even from several workers at once (pipe(7))."""

_ROTATION_S = 0.05  # seconds that logrotate may take from the rename to the new file
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LogFile:
    """A descriptor that lines are written to, and the path that it was opened by, "" for none.

    is_shared: other processes write lines to the same file.
    """

    def __init__(self, descriptor: int, path: str = "", *, is_shared: bool = False) -> None:
        self.path = path
        self.pending = b""
        """Lines that have not been written yet."""
        self._descriptor = descriptor
        self._is_shared = is_shared
        self._read_identity()

    def reopen(self) -> None:
        """Open the path again, as the same descriptor. Where that fails, the old file stays open.

        Raises OSError.
        """
        if self.path:
            reopened = open_log(self.path)
            os.dup2(reopened, self._descriptor, inheritable=False)
            os.close(reopened)
            self._read_identity()

    def follow(self) -> None:
        """Reopen the path if it now names another file, as after a rotation by rename."""
        if self.path and self._was_rotated():
            self.reopen()

    def write(self, timeout: float) -> None:
        """Write the pending lines; raise OSError where that is not possible, and keep the rest.

        timeout: seconds to wait for room in a pipe or terminal before BlockingIOError is raised.
        """
        (self._append_to_file if self._is_regular else self._write_to_pipe)(timeout)

    def _read_identity(self) -> None:
        status = os.fstat(self._descriptor)
        self._is_regular = stat.S_ISREG(status.st_mode)
        self._identity = status.st_dev, status.st_ino

    def _was_rotated(self) -> bool:
        try:
            return self._path_identity() != self._identity
        except FileNotFoundError:
            # logrotate gets time to create the new file itself, right after the rename.
            time.sleep(_ROTATION_S)
        try:
            return self._path_identity() != self._identity
        except FileNotFoundError:
            return True

    def _path_identity(self) -> tuple[int, int]:
        status = os.stat(self.path)  # noqa: PTH116
        return status.st_dev, status.st_ino

    def _append_to_file(self, _timeout: float) -> None:
        written = 0
        with self._locked():
            try:
                while written < len(self.pending):
                    written += os.write(self._descriptor, self.pending[written:])
            except OSError:
                written -= self._truncate_fragment(written)
                raise
            finally:
                self.pending = self.pending[written:]

    def _truncate_fragment(self, written: int) -> int:
        """Truncate the file by an incomplete last line; return the number of bytes removed.

        A full disk takes as many bytes as fit. Where other processes have written after them, or
        the file cannot be truncated (chattr +a), the rest of the line remains to be written.
        """
        fragment = written - (self.pending.rfind(b"\n", 0, written) + 1)
        with suppress(OSError):
            end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            if fragment and os.fstat(self._descriptor).st_size == end:
                os.ftruncate(self._descriptor, end - fragment)
                os.lseek(self._descriptor, end - fragment, os.SEEK_SET)
                return fragment
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other workers from writing after a line that may have to be truncated."""
        if not self._is_shared:
            yield
            return
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):  # as above
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _write_to_pipe(self, timeout: float) -> None:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        while self.pending:
            if not poller.poll(timeout * 1_000):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self.pending = self.pending[os.write(self._descriptor, self._whole_lines()) :]

    def _whole_lines(self) -> bytes:
        """Return as many lines as a pipe takes whole, or the rest of one."""
        return self.pending[: self.pending.rfind(b"\n", 0, PIPE_BUF) + 1 or PIPE_BUF]


def open_log(path: str) -> int:
    """Open a file to append lines; never waits for the reader of a FIFO. Raises OSError."""
    return os.open(path, _FLAGS, 0o644)
