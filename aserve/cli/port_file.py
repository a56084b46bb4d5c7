"""The option --port-file FILE: the port of a server, for the programs that wait for it."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aserve.config.settings import SettingsError

_logger = logging.getLogger("aserve")


class PortFile:
    """A file with a port and a line end. It appears as a whole: who sees it can connect."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).resolve()
        self._text = ""

    def write(self, port: int) -> None:
        """Replace the file with one for this port; raises SettingsError if it cannot be written."""
        if self._file.exists() and not self._file.is_file():
            raise SettingsError("port_file", f"{str(self._file)!r} is no regular file")
        text = f"{port}\n"
        new = self._file.with_name(f".{self._file.name}.{os.getpid()}.new")
        try:
            new.write_text(text)
            new.replace(self._file)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            reason = f"cannot write {str(self._file)!r}: {error.strerror}"
            raise SettingsError("port_file", reason) from error
        self._text = text

    def follow(self, port: int) -> None:
        """Write another port while the server runs; log why that is not possible if so."""
        try:
            self.write(port)
        except SettingsError as error:
            _logger.error("%s", error)

    def remove(self) -> None:
        """Remove the file, unless it is another server's by now."""
        with suppress(OSError, ValueError):  # it is gone, must stay, or is no text
            if self._file.read_text() == self._text:
                self._file.unlink()


@contextmanager
def port_file(path: str, port: int, *, is_first: bool) -> Iterator[Callable[[int], object]]:
    """Have a file with a port in a block; yield what is called with another port.

    is_first: whether a user has just started the program, who is told if the file cannot be
    written; a program that takes the place of another one serves on. It raises SettingsError.
    """
    file = PortFile(path)
    (file.write if is_first else file.follow)(port)
    try:
        yield file.follow
    finally:
        file.remove()
