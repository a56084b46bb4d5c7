"""How values are written: as one text, as several, as on or off; and how TOML has them.

What is wrong with a value is a ValueError, which goes behind the name of the option, the variable,
or the key.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import not_
from typing import Any, Protocol

from aserve.config.names import ItemError
from aserve.config.toml_text import format_value

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
            raise wrong_type(self._expected, value)
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
        expected = "a list of strings or a table" if self._table else "a list of strings"
        return self.from_option(_texts(value, expected))


class Names(One):
    """A text with commas; in TOML it may be a list.

    parse: returns the value of the text.
    """

    def __init__(self, expected: str, parse: Callable[[str], Any]) -> None:
        super().__init__(expected, parse, (str, list), list)

    def from_toml(self, value: object) -> Any:
        """Return the value of a list of strings or of a text."""
        is_list = isinstance(value, list)
        return tuple(_texts(value, "a list of strings")) if is_list else super().from_toml(value)


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
            raise wrong_type("true or false", value)
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


def pair_texts(table: Mapping[str, Any]) -> list[str]:
    """Return NAME=VALUE for each value of a table."""
    return [f"{name}={_text(value, at)}" for at, (name, value) in enumerate(table.items())]


def header_texts(table: Mapping[str, Any]) -> list[str]:
    """Return "GLOB NAME: VALUE" for each header of tables by globs."""
    if not all(isinstance(one, dict) for one in table.values()):
        raise ValueError('must be tables of headers by paths, as in [header."/assets/*"]')
    pairs = [
        (f"{glob} {name}", value) for glob, one in table.items() for name, value in one.items()
    ]
    return [f"{name}: {_text(value, at)}" for at, (name, value) in enumerate(pairs)]


def _text(value: object, index: int) -> str:
    """Return a value of a table as a text; index: which one it is, of all in it."""
    if type(value) not in {str, int}:
        raise ItemError(index, str(wrong_type("a string or a whole number", value)))
    return str(value)


def _texts(value: object, expected: str) -> list[str]:
    """Return a list of texts; raises ValueError for any other value."""
    if not isinstance(value, list):
        raise wrong_type(expected, value)
    for index, one in enumerate(value):
        if not isinstance(one, str):
            raise ItemError(index, str(wrong_type(expected, value)))
    return value


def wrong_type(expected: str, value: object) -> ValueError:
    """Return the error of a value that has another type than the one that is expected."""
    text = format_value(value)
    return ValueError(f"must be {expected}, not {text if len(text) <= 60 else text[:57] + '...'}")
