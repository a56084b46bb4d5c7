"""Limits as NAME=N. What is wrong with one is a ValueError that says how to correct it."""

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from typing import Any

from aserve.arguments import closest_name
from aserve.config.names import ItemError
from aserve.http1.limits import UNLIMITED, LimitError, Limits

_MAX_DIGITS = 9
_LIMITS: dict[str, Field[Any]] = {field.name.replace("_", "-"): field for field in fields(Limits)}
_UNITS = {
    "line": "bytes",
    "size": "bytes",
    "headers": "header lines",
    "body": "bytes",
    "memory": "bytes",
    "timeout": "seconds",
    "rate": "bytes per second",
}
"""The unit of each limit, by the last word of its name."""
_SPECIAL_VALUES: dict[Any, str] = {None: "auto", UNLIMITED: "unlimited"}


LimitChanges = Mapping[str, int | None]
"""Limits that are not their defaults, by the names of the fields of Limits."""


def parse_limits(changes: Iterable[str]) -> LimitChanges:
    """Return limits, each given as NAME=N; raises ValueError."""
    values: dict[str, Any] = {}
    for index, change in enumerate(changes):
        try:
            name, value = _parse_limit(change)
            Limits(**{name: value})  # type: ignore[arg-type]
        except LimitError as error:
            raise ItemError(index, str(error).replace("_", "-")) from error
        except ValueError as error:
            raise ItemError(index, str(error)) from None
        values[name] = value
    return values


def default_changes() -> list[str]:
    """Return every limit with its default, as NAME=N."""
    return [
        f"{name}={_SPECIAL_VALUES.get(field.default, field.default)}"
        for name, field in _LIMITS.items()
    ]


def limit_values(limits: Limits) -> dict[str, int | str]:
    """Return every limit as it is written, by the name that it is written by."""
    values = {name: getattr(limits, field.name) for name, field in _LIMITS.items()}
    return {name: _SPECIAL_VALUES.get(value, value) for name, value in values.items()}


def limit_rows() -> list[tuple[str, str]]:
    """Return every limit with its default, and its unit."""
    return [
        (change, _describe_unit(_LIMITS[change.partition("=")[0]])) for change in default_changes()
    ]


def limit_unit(name: str) -> str:
    """Return what a limit of this name counts."""
    return _UNITS.get(name.rpartition("_")[2], "connections")


def _describe_unit(limit: Field[Any]) -> str:
    unit = limit_unit(limit.name)
    auto = ", or auto: three quarters of all" if limit.default is None else ""
    return f"{unit}{auto}{', or unlimited' if limit.metadata else ''}"


def _parse_limit(change: str) -> tuple[str, int | None]:
    name, _, text = change.partition("=")
    if name not in _LIMITS:
        suggestion, names = _suggestion(name), ", ".join(_LIMITS)
        raise ValueError(f"there is no limit {name!r}{suggestion}; the limits are {names}")
    field = _LIMITS[name]
    if text == "unlimited":
        return field.name, UNLIMITED
    if text == "auto" and field.default is None:
        return field.name, None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ValueError(f"{name} must be {_describe_values(field)}, not {text!r}")
    return field.name, int(text)


def _suggestion(name: str) -> str:
    """Return the limit that was probably meant, "" for none."""
    match = closest_name(name.strip().lower().replace("_", "-"), _LIMITS)
    return f", but there is {match!r}" if match else ""


def _describe_values(limit: Field[Any]) -> str:
    """Return which values a limit takes, for an error message."""
    example = 100 if limit.default in _SPECIAL_VALUES else limit.default
    values = [f"a whole number of at most {_MAX_DIGITS} digits, such as {example}"]
    values += ["'unlimited'"] if limit.metadata else []
    values += ["'auto'"] if limit.default is None else []
    return ", or ".join(values)
