"""aserve.toml: read, with the line of each key for whatever is said about it."""

import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aserve.arguments import closest_name
from aserve.config.names import Source
from aserve.config.root import printable
from aserve.config.settings import SettingsError
from aserve.config.toml_lines import KeyPath, find_lines
from aserve.config.toml_text import format_key

FILE_NAME = "aserve.toml"
"""The file that is used without being named: in the working directory, and only there."""

_TOML_ERROR = re.compile(
    r"(?P<reason>.*?) \(at (?:line (?P<line>\d+), column \d+|end of document)\)"
)


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
        place = f"{printable(str(self.file))}:{self._lines.get(path, 1)}"
        names = [format_key(key) for key in path if isinstance(key, str)]
        return Source(place, f"{place}: {'.'.join(names)}" if names else place)

    def error(self, *keys: str | int, reason: str) -> SettingsError:
        """Return an error that names the file, the line and the key."""
        return SettingsError(self.source(*keys).label, reason)

    def tables(self, key: str) -> "list[Table]":
        """Return the tables of an array, [[key]], none if there is none; raises SettingsError."""
        values = self.values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise self.error(key, reason=f"must be tables, each with the line [[{key}]] above it")
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
    try:
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(named_by, f"cannot read {str(file)!r}: {reason}") from error
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{file}:{line}", "must be UTF-8") from error
    try:
        values = tomllib.loads(text)
        return Table(file, find_lines(text), values)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, text, str(error)) from error
    except RecursionError as error:
        raise SettingsError(str(file), "brackets are nested too deeply") from error


def _syntax_error(file: Path, text: str, message: str) -> SettingsError:
    match = _TOML_ERROR.fullmatch(message)
    reason, line = match.groups() if match else (message, None)
    line = line or len(text.splitlines()) or 1
    return SettingsError(f"{file}:{line}", f"is not TOML: {reason[:1].lower()}{reason[1:]}")
