"""Durations, counts and rates as people write them: `90`, `1m30s`, `10k`, `500/s`."""

import re
from collections.abc import Callable

from abench.errors import ParameterError

MAX_COUNT = 10**15  # beyond it no run ends, and a float cannot hold every whole number

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"  # with "\.?", each split of the digits would be tried
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION_PART = re.compile(rf"({_NUMBER}) ?(us|ms|s|m|h|d)(?:ec|in)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern} ?)+", re.ASCII | re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_MULTIPLE = re.compile(r"(.+?) ?([kmg]?)", re.IGNORECASE)
_PER_S = {"": 1.0, "/s": 1.0, "/m": 60.0, "/h": 3600.0}
_RATE = re.compile(r"(.+?)(/[smh])?(?:ec|in)?", re.IGNORECASE)


def is_duration(text: str) -> bool:
    """Whether `text` is a duration and nothing else, as `5s` is and `5` is not."""
    return bool(_DURATION.fullmatch(text))


def parse_seconds(option: str, text: str) -> float:
    """Return a duration in seconds, which is the default unit; raises ParameterError."""
    if is_duration(text):
        return sum(float(n) * _UNITS_S[unit.lower()] for n, unit in _DURATION_PART.findall(text))
    try:
        return float(text)
    except ValueError:
        raise ParameterError(option, f"{text!r} is not a time like 10, 500ms, 5s or 2m") from None


def parse_count(option: str, text: str) -> int:
    """Return a whole number, perhaps with a suffix k, M or G; raises ParameterError."""
    number = _parse_multiple(text)
    if number is None or number != int(number):
        raise ParameterError(option, f"{text!r} is not a whole number like 100, 10k or 2M")
    return int(number)


def factor(option: str, text: str) -> float:
    """Return a factor, as `2`, `0.5` or `2x`; raises ParameterError."""
    try:
        return float(text.strip().removesuffix("x"))
    except ValueError:
        raise ParameterError(option, f"{text!r} is not a factor like 0.5, 2 or 10x") from None


def parse_rate(option: str, text: str) -> float:
    """Return a rate per second from `500`, `2k` or `90/m`; raises ParameterError."""
    found = _RATE.fullmatch(text)
    number = _parse_multiple(found[1]) if found else None
    if number is None or found is None:
        raise ParameterError(option, f"{text!r} is not a rate like 500, 2k or 90/m")
    return number / _PER_S[(found[2] or "").lower()]


def _parse_multiple(text: str) -> float | None:
    found = _MULTIPLE.fullmatch(text)
    try:
        number = float(found[1]) * _MULTIPLES[found[2].lower()] if found else None
    except ValueError:
        return None
    return number if number is not None and -MAX_COUNT <= number <= MAX_COUNT else None


def option_parser(parse: Callable[[str, str], float], name: str) -> Callable[[object], float]:
    """Return a parser for the option `name`, from a command line or from its own default."""

    def value(given: object) -> float:
        return parse(name, str(given))

    return value
