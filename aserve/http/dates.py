"""HTTP dates (RFC 9110 section 5.6.7): one form out, three forms in."""

import re
from calendar import timegm
from datetime import UTC, datetime
from functools import lru_cache
from time import gmtime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?:{'|'.join(_DAYS)}), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"(?:{'|'.join(_DAYS)}) {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)


EARLIEST = timegm((1, 1, 1, 0, 0, 0))
LATEST = timegm((9999, 12, 31, 23, 59, 59))
"""What four digits of a year can say. File systems know more: tmpfs and btrfs all of 64 bits."""


@lru_cache(maxsize=4_096)
def format_date(seconds: int) -> str:
    """Return the IMF-fixdate of a POSIX time in whole seconds, or the nearest that there is one."""
    t = gmtime(min(max(seconds, EARLIEST), LATEST))
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04}"
        f" {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )


def parse_date(text: str, now: int) -> int | None:
    """Return the POSIX time of an IMF-fixdate, RFC 850 or asctime date; None if it is none of them.

    now (POSIX seconds) settles the century of an RFC 850 date: one that seems more than 50 years
    in the future is the most recent past year with the same last two digits (section 5.6.7).
    """
    for form in _FORMS:
        if found := form.fullmatch(text):
            return _posix_time(found, now)
    return None


def _posix_time(found: re.Match[str], now: int) -> int | None:
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _century(year, now)
    month, day = _MONTHS.index(found["month"]) + 1, int(found["day"])
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
    leap = second == 60  # a leap second is a valid second-of-minute, and POSIX time has none
    try:
        moment = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError:
        return None
    return timegm(moment.timetuple()) + leap


def _century(two_digits: int, now: int) -> int:
    this_year = gmtime(now).tm_year
    year = this_year - this_year % 100 + two_digits
    return year - 100 if year > this_year + 50 else year
