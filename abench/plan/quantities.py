"""Lengths of time, counts and rates as people write them: `90`, `1m30s`, `10k`, `500/s`."""

import re
from collections.abc import Callable

from abench.errors import ParameterError

MAX_COUNT = 10**15  # of a count: beyond it no run ends, and a float is no whole number any more

_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PIECE = re.compile(rf"({_NUMBER}) ?(us|ms|s|m|h|d)(?:ec|in)?", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(rf"(?:{_PIECE.pattern} ?)+", re.ASCII | re.IGNORECASE)
_MULTIPLES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_MULTIPLE = re.compile(r"(.+?) ?([kmg]?)", re.IGNORECASE)
_PER_S = {"": 1.0, "/s": 1.0, "/m": 60.0, "/h": 3600.0}
_RATE = re.compile(r"(.+?)(/[smh])?(?:ec|in)?", re.IGNORECASE)


def is_duration(text: str) -> bool:
    """Whether `text` is a length of time and nothing else, as `5s` is and `5` is not."""
    return bool(_LENGTH.fullmatch(text))


def parse_seconds(option: str, text: str) -> float:
    """Return a length of time in seconds, which is its unit if it has none; or raise."""
    if is_duration(text):
        return sum(float(n) * _UNITS_S[unit.lower()] for n, unit in _PIECE.findall(text))
    try:
        return float(text)
    except ValueError:
        raise ParameterError(option, f"{text!r} is no time, as 10, 500ms, 5s or 2m are") from None


def parse_count(option: str, text: str) -> int:
    """Return a whole number, with k, M or G behind it for its multiples; or raise."""
    number = _parse_multiple(text)
    if number is None or number != int(number):
        raise ParameterError(option, f"{text!r} is no whole number, as 100, 10k or 2M are")
    return int(number)


def factor(option: str, text: str) -> float:
    """Return how many times as much, as `2`, `0.5` or `2x`; or raise."""
    try:
        return float(text.strip().removesuffix("x"))
    except ValueError:
        raise ParameterError(option, f"{text!r} is no factor, as 0.5, 2 or 10x are") from None


def parse_rate(option: str, text: str) -> float:
    """Return a rate per second, as `500`, `2k` or `90/m`; or raise."""
    found = _RATE.fullmatch(text)
    number = _parse_multiple(found[1]) if found else None
    if number is None or found is None:
        raise ParameterError(option, f"{text!r} is no rate, as 500, 2k or 90/m are")
    return number / _PER_S[(found[2] or "").lower()]


def _parse_multiple(text: str) -> float | None:
    found = _MULTIPLE.fullmatch(text)
    try:
        number = float(found[1]) * _MULTIPLES[found[2].lower()] if found else None
    except ValueError:
        return None
    return number if number is not None and -MAX_COUNT <= number <= MAX_COUNT else None


def option_parser(read: Callable[[str, str], float], name: str) -> Callable[[object], float]:
    """Return what reads the option `name`, of a command line or as its own default."""

    def value(said: object) -> float:
        return read(name, str(said))

    return value
