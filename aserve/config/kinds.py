"""How the values of each setting are written: on the command line, in a variable, and in TOML.

One row says it for all of them. What is wrong with a value is a ValueError, which goes behind the
name of the option, the variable, or the key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import not_
from pathlib import Path
from typing import Any, Protocol

from aserve.config.headers import parse_cache
from aserve.config.limit_values import limit_values, parse_limits
from aserve.config.names import is_negated
from aserve.config.paths import parse_paths
from aserve.config.root import Root, as_root
from aserve.config.settings import Settings
from aserve.config.toml_text import format_value
from aserve.config.values import (
    format_size,
    parse_bytes,
    parse_formats,
    parse_maximum,
    parse_names,
    parse_number,
    parse_size,
    parse_text,
    parse_workers,
)
from aserve.handlers.writing.areas import EVERYWHERE
from aserve.http.origins import ANY

SPA_PAGE = "index.html"
"""The page of --spa without one."""

_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})


class Kind(Protocol):
    """How the values of a setting are written."""

    @property
    def types(self) -> Sequence[type]:
        """The types that its values may have in TOML."""

    def from_option(self, given: Any) -> Any:
        """Return the value of an option: of its text, its texts, or whether it is given."""

    def from_text(self, text: str) -> Any:
        """Return the value of a variable's text, which is not empty."""

    def from_toml(self, value: object) -> Any:
        """Return the value of what tomllib has read."""

    def to_toml(self, value: Any) -> Any:
        """Return what tomllib would read for a value."""


def _as_it_is(value: Any) -> Any:
    return value


class One:
    """One text; in TOML it may have another type, whose text is parsed.

    expected: what a value must be, in words. parse: returns the value of a text.
    """

    def __init__(
        self,
        expected: str = "a string",
        parse: Callable[[str], Any] = _as_it_is,
        types: Sequence[type] = (str,),
        to_toml: Callable[[Any], Any] = _as_it_is,
    ) -> None:
        self._expected = expected
        self.types = types
        self.from_option = self.from_text = parse
        self.to_toml = to_toml

    def from_toml(self, value: object) -> Any:
        """Return the value of what tomllib has read."""
        if type(value) not in self.types:
            raise _wrong_type(self._expected, value)
        return self.from_text(str(value))


class Many:
    """Several texts: an option that is repeated, the lines of a variable, a list in TOML.

    parse: returns the value of the texts. table: returns the texts of a table, None: it is none.
    """

    def __init__(
        self,
        parse: Callable[[Sequence[str]], Any] = tuple,
        table: Callable[[Mapping[str, Any]], list[str]] | None = None,
        to_toml: Callable[[Any], Any] = list,
    ) -> None:
        self.types: Sequence[type] = (list, dict) if table else (list,)
        self._table = table
        self.from_option = parse
        self.to_toml = to_toml

    def from_text(self, text: str) -> Any:
        """Return the value of lines: all other separators are part of some globs or headers."""
        lines = [line.strip() for line in text.splitlines()]
        return self.from_option([line for line in lines if line])

    def from_toml(self, value: object) -> Any:
        """Return the value of a list of strings, or of a table."""
        if isinstance(value, dict) and self._table:
            return self.from_option(self._table(value))
        if not _is_list_of_texts(value):
            expected = "a list of strings or a table" if self._table else "a list of strings"
            raise _wrong_type(expected, value)
        return self.from_option(value)  # type: ignore[arg-type]


class Names(One):
    """A text with commas; in TOML it may be a list.

    parse: returns the value of the text.
    """

    def __init__(self, expected: str, parse: Callable[[str], Any]) -> None:
        super().__init__(expected, parse, (str, list), list)

    def from_toml(self, value: object) -> Any:
        """Return the value of a list of strings or of a text."""
        return tuple(value) if _is_list_of_texts(value) else super().from_toml(value)  # type: ignore[arg-type]


class Flag:
    """On or off. is_negated: its option switches it off."""

    types = (bool,)

    def __init__(self, *, is_negated: bool = False) -> None:
        self.from_option: Callable[[bool], bool] = not_ if is_negated else bool
        self.to_toml = _as_it_is

    def from_text(self, text: str) -> bool:
        """Return what a word means."""
        if text.lower() in _ON | _OFF:
            return text.lower() in _ON
        raise ValueError(f"must be on or off, not {text!r}")

    def from_toml(self, value: object) -> bool:
        """Return the value of a boolean."""
        if not isinstance(value, bool):
            raise _wrong_type("true or false", value)
        return value


class Switch:
    """Another kind, but on and off are values, too: of an option that needs no text.

    on: what the option means without one. off: the value.
    """

    def __init__(self, kind: Kind, on: Any, off: Any) -> None:
        self.types = (bool, *kind.types)
        self._kind, self._on, self._off = kind, on, off

    def from_option(self, given: Any) -> Any:
        """Return the value of off, or what the other kind has."""
        return self._off if given in ("off", ["off"]) else self._kind.from_option(given)

    def from_text(self, text: str) -> Any:
        """Return the value of on, off, or of a text of the other kind."""
        if text.lower() in _ON | _OFF:
            return self.from_toml(text.lower() in _ON)
        return self._kind.from_text(text)

    def from_toml(self, value: object) -> Any:
        """Return the value of a boolean, or what the other kind has."""
        if isinstance(value, bool):
            return self._kind.from_option(self._on) if value else self._off
        return self._kind.from_toml(value)

    def to_toml(self, value: Any) -> Any:
        """Return false where it is off."""
        return False if value == self._off else self._kind.to_toml(value)


def pairs(table: Mapping[str, Any]) -> list[str]:
    """Return NAME=VALUE for each value of a table."""
    return [f"{name}={_text(value)}" for name, value in table.items()]


def headers(table: Mapping[str, Any]) -> list[str]:
    """Return "GLOB NAME: VALUE" for each header of tables by globs."""
    if not all(isinstance(one, dict) for one in table.values()):
        raise ValueError('must be tables of headers by paths, as in [header."/assets/*"]')
    return [
        f"{glob} {name}: {_text(value)}"
        for glob, one in table.items()
        for name, value in one.items()
    ]


def _text(value: object) -> str:
    if type(value) not in {str, int}:
        raise _wrong_type("a string or a whole number", value)
    return str(value)


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _wrong_type(expected: str, value: object) -> ValueError:
    text = format_value(value)
    return ValueError(f"must be {expected}, not {text if len(text) <= 60 else text[:57] + '...'}")


def _parse_root(arguments: Sequence[str]) -> Root:
    return as_root(parse_paths(arguments))


def _root_to_toml(root: Root) -> Any:
    if isinstance(root, Path):
        return str(root)
    return {f"/{name}": str(path) for name, path in root.items()}


class _Paths(Many):
    """What is served: a path, or in TOML a table of paths by their names in URLs."""

    def __init__(self) -> None:
        super().__init__(_parse_root, to_toml=_root_to_toml)
        self.types = (str, dict)

    def from_toml(self, value: object) -> Root:
        """Return the root that a path or a table names."""
        texts = value.values() if isinstance(value, dict) else [value]
        if not all(isinstance(one, str) and one for one in texts):
            raise _wrong_type("a path, or a table of paths by their names in URLs", value)
        return as_root(value)


WHOLE_NUMBER = One("a whole number", parse_number, (int,))
MAXIMUM = One("a whole number or a string", parse_maximum, (int, str), format_size)

_BY_TYPE: Mapping[type, Kind] = {str: One(), int: WHOLE_NUMBER, tuple: Many()}

_KINDS: Mapping[str, Kind] = {
    "root": _Paths(),
    "port": WHOLE_NUMBER,
    "threads": WHOLE_NUMBER,
    "workers": One("a whole number or 'auto'", parse_workers, (int, str)),
    "allowed_hosts": Names("a list of strings, 'any' or 'local'", parse_names),
    "response_cache": One(
        "a size such as '64M', or 'off'",
        parse_size,
        (int, str),
        lambda size: format_size(size) or "off",
    ),
    "types": Many(table=pairs),
    "index": Names("a list of strings", parse_names),
    "spa": Switch(One("true, false or a string", parse_text), SPA_PAGE, ""),
    "error_page": Many(table=pairs),
    "headers": Many(table=headers),
    "cache": One("a whole number or a string", parse_cache, (int, str)),
    "cors": Switch(Names("true, false, or a list of strings", parse_names), ANY, ()),
    "limits": Many(parse_limits, pairs, limit_values),
    "archive": Names("a list of strings, or 'off'", parse_formats),
    "archive_max_bytes": MAXIMUM,
    "archive_max_files": MAXIMUM,
    "write": Switch(Many(), [EVERYWHERE], ()),
    "max_upload": MAXIMUM,
    "quota": MAXIMUM,
    "min_free": One("a whole number or a string", parse_bytes, (int, str), format_size),
}
"""Kinds that do not follow from the type of the default."""

_NOT_WRITTEN = {"queue", "grace", "handlers", "sources", "sites", "paths"}
"""What only a program can set, and what has tables of its own (aserve/config/site_tables.py)."""

PROGRAM_KINDS: Mapping[str, Kind] = {
    "open": Flag(),
    "access_log": One(),
    "quiet": Flag(),
    "watch_config": Flag(),
}
"""Options that are no Settings: what the program itself does."""


def _kind_of(setting: str, default: object) -> Kind:
    if setting in _KINDS:
        return _KINDS[setting]
    if isinstance(default, bool):
        return Flag(is_negated=is_negated(setting))
    return _BY_TYPE[type(default)]


SETTING_KINDS: Mapping[str, Kind] = {
    field.name: _kind_of(field.name, field.default)
    for field in fields(Settings)
    if field.name not in _NOT_WRITTEN
}
"""The kind of each setting that a user can give, in the order of Settings."""

KINDS: Mapping[str, Kind] = {**SETTING_KINDS, **PROGRAM_KINDS}
