"""Where log lines go: a file that may be rotated, fill its disk, or be a pipe that nobody reads.

Whatever happens, a line is written whole or not at all, and what could not be written waits.
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
"""So many bytes a pipe takes whole, even from several workers (pipe(7))."""

_ROTATION_S = 0.05  # between the rename and the making of a new file, in which logrotate is slow
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class LogFile:
    """Lines on their way to a descriptor, and the path that it was opened by, "" for none.

    is_shared: other processes write their lines there, too.
    """

    def __init__(self, descriptor: int, path: str = "", *, is_shared: bool = False) -> None:
        self.path = path
        self.pending = b""
        """Lines that have been taken and not been written yet."""
        self._descriptor = descriptor
        self._is_shared = is_shared
        self._read_identity()

    def reopen(self) -> None:
        """Open the path anew, in the same descriptor. Where that fails the old file stays."""
        if self.path:
            fresh = open_log(self.path)
            os.dup2(fresh, self._descriptor, inheritable=False)
            os.close(fresh)
            self._read_identity()

    def follow(self) -> None:
        """Open the path anew where it names another file by now, as after a rotation by rename."""
        if self.path and self._was_rotated():
            self.reopen()

    def write(self, timeout: float) -> None:
        """Write what waits; raise OSError where that is not possible now, and keep the rest.

        patience: seconds that a pipe or a terminal gets to make room before BlockingIOError.
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
            # logrotate makes the new file itself, if nobody else does so right behind the rename.
            time.sleep(_ROTATION_S)
        try:
            return self._path_identity() != self._identity
        except FileNotFoundError:
            return True

    def _path_identity(self) -> tuple[int, int]:
        status = os.stat(self.path)  # noqa: PTH116
        return status.st_dev, status.st_ino

    def _append_to_file(self, _patience: float) -> None:
        done = 0
        with self._locked():
            try:
                while done < len(self.pending):
                    done += os.write(self._descriptor, self.pending[done:])
            except OSError:
                done -= self._truncate_fragment(done)
                raise
            finally:
                self.pending = self.pending[done:]

    def _truncate_fragment(self, done: int) -> int:
        """Take back the beginning of a line from the end of the file; return its length.

        A disk takes what there is room for. Where others have written behind it, or nothing can be
        taken back (chattr +a), the rest of the line is still owed.
        """
        fragment = done - (self.pending.rfind(b"\n", 0, done) + 1)
        with suppress(OSError):
            end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            if fragment and os.fstat(self._descriptor).st_size == end:
                os.ftruncate(self._descriptor, end - fragment)
                os.lseek(self._descriptor, end - fragment, os.SEEK_SET)
                return fragment
        return 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other workers from writing behind a line that may have to be taken back."""
        if not self._is_shared:
            yield
            return
        with suppress(OSError):  # a file system without locks
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _write_to_pipe(self, patience: float) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while self.pending:
            if not room.poll(patience * 1_000):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self.pending = self.pending[os.write(self._descriptor, self._whole_lines()) :]

    def _whole_lines(self) -> bytes:
        """Return as many lines as a pipe takes whole, or the rest of one."""
        return self.pending[: self.pending.rfind(b"\n", 0, PIPE_BUF) + 1 or PIPE_BUF]


def open_log(path: str) -> int:
    """Open a file to write lines at its end, without waiting for whoever might read it."""
    return os.open(path, _FLAGS, 0o644)
