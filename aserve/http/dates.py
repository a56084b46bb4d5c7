"""HTTP dates (RFC 9110 section 5.6.7): one format is sent, three are parsed."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from time import gmtime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY = f"(?:{'|'.join(_DAYS)})"
_IMF_FIXDATE = re.compile(
    rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT", re.ASCII
)
_OBSOLETE = (  # re compiles them when one is met, and has them from then on
    rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
    rf"{_DAY} {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
)


EARLIEST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
LATEST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
"""The bounds of a four-digit year. File systems store more: tmpfs and btrfs a full 64 bits."""


@lru_cache(maxsize=4_096)
def format_date(seconds: int) -> str:
    """Return a POSIX time in whole seconds as an IMF-fixdate, clamped to EARLIEST and LATEST."""
    t = gmtime(min(max(seconds, EARLIEST), LATEST))
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04}"
        f" {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def parse_date(text: str, now: int) -> int | None:
    """Return the POSIX time of an IMF-fixdate, RFC 850 or asctime date; None for other text.

    now (POSIX seconds) decides the century of an RFC 850 date: one that appears to be more than 50
    years in the future is the most recent past year with the same last two digits (section 5.6.7).
    """
    if match := _IMF_FIXDATE.fullmatch(text):
        return _posix_time(match, now)
    for pattern in _OBSOLETE:
        if match := re.fullmatch(pattern, text, re.ASCII):
            return _posix_time(match, now)
    return None


def _posix_time(match: re.Match[str], now: int) -> int | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _century(year, now)
    month, day = _MONTHS.index(match["month"]) + 1, int(match["day"])
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    leap = second == 60  # valid in a date, but POSIX time has no leap seconds
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) + leap


def _century(two_digits: int, now: int) -> int:
    this_year = gmtime(now).tm_year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year
