"""aserve.toml: read, with the line of each key for whatever is said about it."""

import os
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aserve.arguments import closest_name
from aserve.config.names import Source
from aserve.config.root import printable
from aserve.config.settings import SettingsError
from aserve.config.toml_text import KeyPath, format_key

FILE_NAME = "aserve.toml"
"""The file that is used without being named: in the working directory, and only there."""

MAX_SIZE = 4 << 20
"""Bytes of a file: ten thousand tables of headers are one megabyte, and take half a second."""


class Table:
    """A table of a file, and where it is.

    values: as tomllib has them. directory: of the file; what is relative in it begins there.
    """

    def __init__(
        self,
        file: Path,
        lines: Mapping[KeyPath, int],
        values: Mapping[str, Any],
        path: KeyPath = (),
    ) -> None:
        self.file = file
        self.directory = file.absolute().parent
        self.values = values
        self._lines = lines
        self._path = path

    def source(self, *keys: str | int) -> Source:
        """Return where a value in the table is, or the table itself if no key is given."""
        path = (*self._path, *keys)
        place = _place(self.file, self._lines.get(path, 1))
        names = [format_key(key) for key in path if isinstance(key, str)]
        return Source(place, f"{place}: {'.'.join(names)}" if names else place)

    def error(self, *keys: str | int, reason: str) -> SettingsError:
        """Return an error that names the file, the line and the key."""
        return SettingsError(self.source(*keys).label, reason)

    def tables(self, key: str) -> "list[Table]":
        """Return the tables of an array, [[key]], none if there is none; raises SettingsError."""
        values = self.values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            name = ".".join(one for one in (*self._path, key) if isinstance(one, str))
            raise self.error(key, reason=f"must be tables, each with the line [[{name}]] above it")
        return [
            Table(self.file, self._lines, value, (*self._path, key, index))
            for index, value in enumerate(values)
        ]

    def check_keys(self, known: Collection[str]) -> None:
        """Raise SettingsError for the first key that is not among the known ones."""
        for key in self.values:
            if key not in known:
                match = closest_name(key.lower().replace("_", "-"), known)
                hint = f"; did you mean {match}?" if match else ""
                raise self.error(key, reason=f"there is no such key{hint}")


def read_file_here() -> Table | None:
    """Return what is in the file in the working directory, None if there is none.

    Raises SettingsError as read_config_file does, and for a file that any user can have put there:
    a server that is started in /tmp must not serve what another user wants it to.
    """
    if not os.path.lexists(FILE_NAME):
        return None
    with suppress(OSError):
        if is_foreign(os.lstat(FILE_NAME), Path.cwd().stat(), os.geteuid()):
            reason = "belongs to another user, in a directory that everyone may write to"
            way_out = f"use --config {FILE_NAME} if you trust it, or else --config off"
            raise SettingsError(FILE_NAME, f"{reason}: {way_out}")
    return read_config_file(Path(FILE_NAME), FILE_NAME)


def is_foreign(file: os.stat_result, directory: os.stat_result, user: int) -> bool:
    """Tell whether a file can come from a user who is neither this one, nor root, nor the owner."""
    is_shared = bool(directory.st_mode & stat.S_IWOTH)
    return is_shared and file.st_uid not in {user, 0, directory.st_uid}


def read_config_file(file: Path, named_by: str) -> Table:
    """Return what is in a file; raises SettingsError if it cannot be read, or is not TOML.

    named_by: what says which file, for the message that it cannot be read.
    """
    # With a file only: its two modules, and tomllib, are a tenth of what aserve has to import.
    from aserve.config.toml_lines import TomlError, parse_toml  # noqa: PLC0415

    text = _read_text(file, named_by)
    try:
        values, lines = parse_toml(text)
    except TomlError as error:
        raise SettingsError(_place(file, error.line), f"is not TOML: {error.reason}") from error
    except RecursionError as error:
        raise SettingsError(printable(str(file)), "brackets are nested too deeply") from error
    return Table(file, lines, values)


def _read_text(file: Path, named_by: str) -> str:
    """Return the text of a file, with lines that end in newlines alone."""
    try:
        with open(file, "rb", opener=_open_without_waiting) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise ValueError("it is not a regular file, which a reload could read again")
            data = opened.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise ValueError(f"it is larger than {MAX_SIZE >> 20} MB")
    except (OSError, ValueError) as error:  # ValueError: also a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(named_by, f"cannot read {str(file)!r}: {reason}") from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(_place(file, line), "must be UTF-8") from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe is not waited for until a program writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _place(file: Path, line: int) -> str:
    return f"{printable(str(file))}:{line}"
