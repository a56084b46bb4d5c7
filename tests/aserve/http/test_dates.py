import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.dates import format_date, parse_date

NOW = 1_785_000_000  # July 2026
EXAMPLE = 784_111_777  # the example of RFC 9110 section 5.6.7


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_date_formats(text):
    assert parse_date(text, NOW) == EXAMPLE


def test_format_date():
    assert format_date(EXAMPLE) == "Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 253_402_300_799))
def test_a_formatted_date_parses_back(seconds):
    assert parse_date(format_date(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-62_135_596_800, "Mon, 01 Jan 0001 00:00:00 GMT"),
        (-62_135_596_801, "Mon, 01 Jan 0001 00:00:00 GMT"),
        (-(1 << 63), "Mon, 01 Jan 0001 00:00:00 GMT"),
        (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ((1 << 63) - 1, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_times_outside_four_digit_years_are_clamped(seconds, text):
    assert format_date(seconds) == text
    assert parse_date(text, NOW) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
    ],
)
def test_an_invalid_date(text):
    assert parse_date(text, NOW) is None


@given(st.text(max_size=40))
def test_any_text_parses_without_an_exception(text):
    parse_date(text, NOW)


def test_two_digit_years_more_than_fifty_years_ahead_are_past():
    assert format_date(parse_date("Friday, 01-Jan-77 00:00:00 GMT", NOW)).endswith(
        "1977 00:00:00 GMT"
    )
    assert format_date(parse_date("Wednesday, 01-Jan-76 00:00:00 GMT", NOW)).endswith(
        "2076 00:00:00 GMT"
    )


def test_a_leap_second_is_valid():
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW) == 1_483_228_800
