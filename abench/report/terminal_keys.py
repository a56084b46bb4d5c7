"""The keys that are pressed on a terminal while something else is shown there."""

import os
import select
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_OFF = b"\0"  # _POSIX_VDISABLE on Linux: no key has this function
_MAX_PENDING = 100  # bytes: a terminal may hold thousands of pasted ones


class Keyboard:
    """The keys pressed on the terminal of a stream, without waiting for them or for a line.

    They are read from the terminal that shows the screen: standard input may be a file. Where that
    is no terminal, or one that may not be read from, there are no keys.
    """

    def __init__(self, stream: TextIO) -> None:
        self._terminal = stream.fileno()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the terminal pass on each key until the block ends, and restore it then.

        Keys are not echoed. Ctrl-C keeps its function. Ctrl-Z has none: the shell would be left
        with a screen that is not its own, and a load test that is suspended measures nothing.
        """
        try:
            before = termios.tcgetattr(self._terminal)
        except termios.error:
            yield
            return
        self._apply(_without_lines(before))
        try:
            yield
        finally:
            # Flush what was typed: a second q is not meant for the shell.
            self._apply(before)

    def pressed(self) -> str:
        """Return the keys pressed since the last call."""
        keys = b""
        with suppress(OSError):  # open for writing only, or gone
            while self._is_ours() and select.select((self._terminal,), (), (), 0)[0]:
                got = os.read(self._terminal, _MAX_PENDING)
                keys += got
                if not got or len(keys) >= _MAX_PENDING:
                    break
        return keys.decode(errors="replace")

    def _apply(self, attributes: list[Any]) -> None:
        """Set the terminal, unless it is in use by another job, which would stop this one."""
        with suppress(termios.error):
            if self._is_ours():
                termios.tcsetattr(self._terminal, termios.TCSAFLUSH, attributes)

    def _is_ours(self) -> bool:
        """Whether no other job is in the foreground of the terminal."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:  # ENOTTY: a terminal without job control for this process
            return True


def _without_lines(attributes: list[Any]) -> list[Any]:
    """Return the attributes of a terminal that passes on each key and echoes none."""
    changed = [*attributes]
    changed[tty.LFLAG] &= ~(termios.ICANON | termios.ECHO)
    changed[tty.CC] = [*attributes[tty.CC]]
    changed[tty.CC][termios.VMIN] = 1
    changed[tty.CC][termios.VSUSP] = _OFF
    return changed
