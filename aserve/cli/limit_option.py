"""The option --limit: NAME=N, and what is wrong with one, in a line that tells the way out."""

from collections.abc import Iterable
from dataclasses import Field, fields
from difflib import get_close_matches
from typing import Any

from aserve.config.settings import SettingsError
from aserve.http1.limits import UNLIMITED, LimitError, Limits

_MAX_DIGITS = 9
_LIMITS: dict[str, Field[Any]] = {one.name.replace("_", "-"): one for one in fields(Limits)}
_WORDS: dict[Any, str] = {None: "auto", UNLIMITED: "unlimited"}


def parse_limits(changes: Iterable[str]) -> Limits:
    """Return the limits with changes; raises SettingsError."""
    values: dict[str, Any] = dict(map(_parse, changes))
    try:
        return Limits(**values)
    except LimitError as error:
        raise SettingsError("--limit", str(error).replace("_", "-")) from error


def limits_help() -> str:
    """Return every limit as it is by default, and what its value may be."""
    defaults = [f"{name}={_WORDS.get(one.default, one.default)}" for name, one in _LIMITS.items()]
    words = "0 or 'unlimited' switches one off; 'auto' is three quarters of all."
    return f"Octets, seconds, counts, as they are by default: {', '.join(defaults)}. {words}"


def _parse(change: str) -> tuple[str, int | None]:
    name, _, text = change.partition("=")
    if name not in _LIMITS:
        raise SettingsError("--limit", f"{_hint(name)}; there are {', '.join(_LIMITS)}")
    field = _LIMITS[name].name
    if text == "unlimited":
        return field, UNLIMITED
    if text == "auto" and _LIMITS[name].default is None:
        return field, None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise SettingsError("--limit", f"{name} must be {_values(_LIMITS[name])}, not {text!r}")
    return field, int(text)


def _hint(name: str) -> str:
    known = name.strip().lower().replace("_", "-")
    near = [one for one in _LIMITS if known and known in one] or get_close_matches(known, _LIMITS)
    return f"there is no {name!r}" + (f", but {near[0]!r}" if near else "")


def _values(limit: Field[Any]) -> str:
    """Return what a limit may be."""
    example = 100 if limit.default in _WORDS else limit.default
    words = [f"a whole number of at most {_MAX_DIGITS} digits, such as {example}"]
    words += ["'unlimited'"] if limit.metadata else []
    words += ["'auto'"] if limit.default is None else []
    return ", or ".join(words)
