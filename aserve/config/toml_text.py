"""Values as TOML, which Python reads and does not write."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value, and indices in arrays: `("site", 0, "hosts", 1)`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def format_value(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{format_key(key)} = {format_value(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(format_value, value))}]"
    return str(value)


def format_key(name: str) -> str:
    """Return one name of a key, quoted if it must be."""
    return name if _BARE_KEY.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    """Return a character as it is in a string; half of a pair, which no TOML has, is a mark."""
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    if character in _ESCAPES or character.isprintable():
        return _ESCAPES.get(character, character)
    return f"\\U{ord(character):08x}"
