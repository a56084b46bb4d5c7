"""The times of access logs: POSIX times, ISO 8601, and that of the common log format.

All are returned in seconds. Functions of bytes parse a column of times and return NaN for one that
is invalid; the others parse one time and return None.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from math import nan
from typing import Any

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_MAX_SECONDS = 1e11  # a POSIX time beyond it is in milliseconds: in seconds it is the year 5138
_UNITS_PER_S = (1, 1_000, 1_000_000, 1_000_000_000)  # and so on to nanoseconds
_CLF_TIME = re.compile(r"([^.]{1,40}?)(\.\d{1,9})?( [+-]\d{4})")


def parse_json_time(text: bytes) -> float:
    """Return the time of a line of JSON. Its whole second is cached: many lines share it."""
    if text[10:11] == b"." and text[:10].isdigit() and text[11:].isdigit() and len(text) <= 20:
        return float(text)  # a POSIX time in seconds, which no two lines share
    zone = 1 if text.endswith(b"Z") else 6
    if text[10:11] == b"T" and text[19:20] == b"." and text[20:-zone].isdigit():
        return _json_second(text[:19] + text[-zone:]) + float(text[19:-zone])
    return _json_second(text)


@lru_cache(maxsize=1_024)
def _json_second(text: bytes) -> float:
    at_s = parse_time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def parse_time(value: Any) -> float | None:
    """Return the time that a JSON value is, in any of the formats."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # as $msec of nginx, in quotes
        value = float(value)
    if isinstance(value, int | float):
        return _posix_time(value)
    if not isinstance(value, str):
        return None
    at_s = _parse_datetime(datetime.fromisoformat, value)
    return clf_time(value) if at_s is None else at_s


def _posix_time(value: float) -> float | None:
    """Return the seconds of a POSIX time in seconds, milli-, micro- or nanoseconds."""
    units = (units for units in _UNITS_PER_S if 0 <= value < _MAX_SECONDS * units)
    unit = next(units, None)
    return None if unit is None else value / unit


@lru_cache(maxsize=1_024)  # a busy server has many lines per second
def parse_clf_time(text: bytes) -> float:
    """Return a time of the common log format without a fraction."""
    at_s = clf_time(text.decode(errors="replace"))
    return nan if at_s is None else at_s


def parse_clf_fraction(text: bytes) -> float:
    """Return a time of the common log format with a fraction. Its whole second is cached."""
    if text[20:21] != b".":
        return nan
    try:
        return parse_clf_time(text[:20] + text[-6:]) + float(text[20:-6])
    except ValueError:
        return nan


def parse_local_fraction(text: bytes) -> float:
    """Return a time as HAProxy writes it: that of the common log format, without a zone.

    It counts as UTC: only the distances between requests are replayed.
    """
    zoned = text + b" +0000"
    return parse_clf_fraction(zoned) if b"." in text else parse_clf_time(zoned)


def clf_time(text: str) -> float | None:
    """Return a time of the common log format, with or without a fraction."""
    found = _CLF_TIME.fullmatch(text)
    second = _clf_second(found[1] + found[3]) if found else None
    if not found or second is None:
        return None
    return second + float(found[2] or 0)


@lru_cache(maxsize=1_024)
def _clf_second(text: str) -> float | None:
    return _parse_datetime(_strptime, text)


def _strptime(text: str) -> datetime:
    return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")


def _parse_datetime(parse: Callable[[str], datetime], text: str) -> float | None:
    try:
        return parse(text).timestamp()
    except (ValueError, OverflowError):
        return None
