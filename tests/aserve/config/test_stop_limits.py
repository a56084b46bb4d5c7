"""How it is written when a server ends by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.config.stop_limits import (
    StopAfter,
    describe_count,
    describe_duration,
    format_duration,
    format_stop_after,
    parse_duration,
    parse_stop_after,
)

SECONDS = st.integers(0, 999_999)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7_200), ("1d", 86_400), ("off", 0)]
)
def test_a_time_has_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "2", "0s", "-1h", "1.5h", "2 h", "1h30m", "٣s", "2H", "9999999s"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("2h", StopAfter(seconds=7_200)),
        ("1-download", StopAfter(downloads=1)),
        ("3-downloads", StopAfter(downloads=3)),
        ("1d, 3-downloads", StopAfter(86_400, 3)),
        ("3-downloads,1d", StopAfter(86_400, 3)),
        ("off", StopAfter()),
    ],
)
def test_limits_are_a_time_a_number_of_downloads_or_both(text: str, limits: StopAfter) -> None:
    assert parse_stop_after(text) == limits


@pytest.mark.parametrize("text", ["", "3", "0-downloads", "downloads", "3x", "2h,", "off,2h"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="must be such as 90s, 2h, 3-downloads or 'off'"):
        parse_stop_after(text)


@pytest.mark.parametrize("text", ["2h,3m", "1-download,2-downloads"])
def test_each_limit_is_given_once(text: str) -> None:
    with pytest.raises(ValueError, match="has two limits"):
        parse_stop_after(text)


@given(SECONDS)
def test_a_time_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(SECONDS, st.integers(0, 999_999_999))
def test_limits_are_written_as_they_are_read(seconds: int, downloads: int) -> None:
    limits = StopAfter(seconds, downloads)
    assert parse_stop_after(format_stop_after(limits)) == limits


def test_words_have_the_largest_unit() -> None:
    said = [describe_duration(seconds) for seconds in (1, 90, 60, 3_600, 172_800)]
    assert said == ["1 second", "90 seconds", "1 minute", "1 hour", "2 days"]
    assert describe_count(1, "download") == "1 download"
    assert describe_count(2, "download") == "2 downloads"
