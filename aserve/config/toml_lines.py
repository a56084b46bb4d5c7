"""A TOML document, and the line of each key in it, which tomllib does not tell.

The scan is for what tomllib has read before, so it is well-formed: it only has to tell keys from
values, and to see where each begins.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from aserve.config.toml_text import KeyPath

_ERROR = re.compile(r"(?P<reason>.*?) \(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_TOO_LARGE = "a number has more than 64 bits"
_LEAST_TOO_LARGE = 1 << 63
_LONG_NUMBER = re.compile(r"(?:\d_?){4301}", re.ASCII)
"""More digits than Python reads as one number."""

_TOKEN = re.compile(
    r"""
      (?P<newline> \n )
    | (?P<comment> \#[^\n]* )
    | (?P<string>  \"{3} (?:[^\\]|\\.)*? \"{3,5} | '{3} .*? '{3,5}
                 | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' )
    | (?P<mark>    [\[\]{},=.] )
    | (?P<word>    [^\s\[\]{},=.\#"']+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class TomlError(ValueError):
    """A document that is no TOML. reason: what is wrong. line: where, counted from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"{line}: {reason}")
        self.reason = reason
        self.line = line


def parse_toml(text: str) -> tuple[Mapping[str, Any], Mapping[KeyPath, int]]:
    """Return the values of a document and the line of each; raises TomlError and RecursionError."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, str(error)) from error
    except ValueError as error:  # of int(), about thousands of digits
        match = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, match.start() if match else 0) + 1
        raise TomlError(_TOO_LARGE, line) from error
    lines = find_lines(text)
    for path, number in _numbers(values):
        if not -_LEAST_TOO_LARGE <= number < _LEAST_TOO_LARGE:
            raise TomlError(_TOO_LARGE, lines[path])
    return values, lines


def _syntax_error(text: str, message: str) -> TomlError:
    match = _ERROR.fullmatch(message)
    reason, line = match.groups() if match else (message, None)
    return TomlError(reason[:1].lower() + reason[1:], int(line or len(text.splitlines()) or 1))


def _numbers(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Yield each whole number in a value, with the keys that lead to it."""
    if isinstance(value, int):
        yield path, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(one, (*path, key))


def find_lines(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, of each key, table and element of an array.

    text: a document that tomllib reads.
    """
    return _Scan(text).lines


class _Scan:
    """One walk over the tokens of a document."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._tokens = _tokens(text)
        self._last: dict[KeyPath, int] = {}  # of each array of tables: the index of its last one
        self._next()
        self._document()

    def _next(self) -> None:
        self._kind, self._text, self._line = next(self._tokens)

    def _skip(self, mark: str) -> bool:
        """Go on behind a mark, if it is next."""
        is_next = self._text == mark
        if is_next:
            self._next()
        return is_next

    def _skip_lines(self) -> None:
        while self._kind == "newline":
            self._next()

    def _document(self) -> None:
        table: KeyPath = ()
        self._skip_lines()
        while self._kind != "end":
            line = self._line
            if self._skip("["):
                table = self._header(line)
            else:
                self._pair(table)
            self._skip_lines()

    def _header(self, line: int) -> KeyPath:
        """Return the path of the table whose name follows."""
        is_array = self._skip("[")
        key = self._key()
        table = self._new_element(key) if is_array else self._resolved(key)
        self._note(table, line)
        while self._skip("]"):
            pass
        return table

    def _new_element(self, key: tuple[str, ...]) -> KeyPath:
        array = (*self._resolved(key[:-1]), key[-1])
        self._last[array] = self._last.get(array, -1) + 1
        return (*array, self._last[array])

    def _resolved(self, key: tuple[str, ...]) -> KeyPath:
        """Return the path of a table's name: of an array of tables, the last one is meant."""
        path: KeyPath = ()
        for name in key:
            path = (*path, name)
            if path in self._last:
                path = (*path, self._last[path])
        return path

    def _note(self, path: KeyPath, line: int) -> None:
        """Keep the line of a path, and of what is on the way to it where nothing else has one."""
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def _pair(self, table: KeyPath) -> None:
        line = self._line
        path = (*table, *self._key())
        self._note(path, line)
        self._skip("=")
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._skip("."):
            names.append(self._name())
        return tuple(names)

    def _name(self) -> str:
        name = self._text
        if self._kind == "string":
            (name,) = tomllib.loads(f"{name} = 0")
        self._next()
        return name

    def _value(self, path: KeyPath) -> None:
        if self._skip("["):
            self._array(path)
        elif self._skip("{"):
            self._inline_table(path)
        else:
            self._next()
            while self._kind == "word" or self._text == ".":  # 1.5, 1979-05-27 07:32:00
                self._next()

    def _array(self, path: KeyPath) -> None:
        index = 0
        self._skip_lines()
        while not self._skip("]"):
            if not self._skip(","):
                self._note((*path, index), self._line)
                self._value((*path, index))
                index += 1
            self._skip_lines()

    def _inline_table(self, path: KeyPath) -> None:
        self._skip_lines()
        while not self._skip("}"):
            if not self._skip(","):
                self._pair(path)
            self._skip_lines()


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield the kind, the text and the line of each token that matters, and of the end."""
    line = 1
    position = 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        if match.lastgroup != "comment":
            yield str(match.lastgroup), match[0], line
    yield "end", "", line
