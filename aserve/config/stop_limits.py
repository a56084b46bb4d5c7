"""When a server ends by itself: after a time, after downloads, or when nothing is asked for."""

import re
from typing import NamedTuple

OFF = "off"

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WORDS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_TIME = re.compile(r"([0-9]{1,6})([dhms])")
_DOWNLOADS = re.compile(r"([0-9]{1,9})-downloads?")


class StopAfter(NamedTuple):
    """Since the start of the program; the first that is reached ends it.

    seconds: 0 for no such limit. downloads: that were completed, 0 for no such limit.
    """

    seconds: int = 0
    downloads: int = 0


def parse_duration(text: str) -> int:
    """Return the seconds of `90s`, `15m`, `2h` or `1d`, 0 for `off`; raises ValueError."""
    if text == OFF:
        return 0
    match = _TIME.fullmatch(text)
    if not match or not int(match[1]):
        raise ValueError(f"must be a time such as 90s, 15m, 2h or 1d, or 'off', not {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def parse_stop_after(text: str) -> StopAfter:
    """Return the limits of `2h`, `3-downloads`, or both with a comma; raises ValueError.

    Those of `off` are none.
    """
    if text == OFF:
        return StopAfter()
    found: dict[str, int] = {}
    for part in text.split(","):
        name, value = _parse_limit(part.strip(), text)
        if name in found:
            raise ValueError(f"has two limits of {name}, in {text!r}")
        found[name] = value
    return StopAfter(**found)


def _parse_limit(part: str, text: str) -> tuple[str, int]:
    match = _DOWNLOADS.fullmatch(part)
    if match and int(match[1]):
        return "downloads", int(match[1])
    if _TIME.fullmatch(part) and (seconds := parse_duration(part)):
        return "seconds", seconds
    raise ValueError(f"must be such as 90s, 2h, 3-downloads or 'off', not {text!r}")


def format_duration(seconds: int) -> str:
    """Return a time as it is written, with the largest unit that it is a multiple of."""
    if not seconds:
        return OFF
    unit = _unit_of(seconds)
    return f"{seconds // _UNITS[unit]}{unit}"


def describe_duration(seconds: int) -> str:
    """Return a time in words: 1 hour, 90 seconds."""
    unit = _unit_of(seconds)
    return describe_count(seconds // _UNITS[unit], _WORDS[unit])


def describe_count(count: int, what: str) -> str:
    """Return a number of things in words: 1 download, 2 downloads."""
    return f"{count} {what}{'s' * (count != 1)}"


def format_stop_after(limits: StopAfter) -> str:
    """Return limits as they are written."""
    time = [format_duration(limits.seconds)] if limits.seconds else []
    downloads = [f"{limits.downloads}-downloads"] if limits.downloads else []
    return ",".join(time + downloads) or OFF


def _unit_of(seconds: int) -> str:
    return next(unit for unit, length in _UNITS.items() if seconds % length == 0)
