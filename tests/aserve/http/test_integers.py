import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.integers import MAX_INTEGER, parse_decimal, parse_hexadecimal, parse_port

naturals = st.integers(0, 1 << 80)
zeros = st.integers(0, 3).map("0".__mul__) | st.just("0" * 5_000)


@given(naturals, zeros)
def test_leading_zeros_do_not_matter(number, leading):
    expected = min(number, MAX_INTEGER)
    assert parse_decimal(f"{leading}{number}") == expected
    assert parse_hexadecimal(f"{leading}{number:x}") == expected
    assert parse_hexadecimal(f"{leading}{number:X}") == expected


@pytest.mark.parametrize("digit", "0123456789")
def test_more_digits_than_python_converts(digit):
    digits = digit * (sys.get_int_max_str_digits() + 1)
    assert parse_decimal(digits) == (0 if digit == "0" else MAX_INTEGER)


@given(st.text(max_size=8))
@pytest.mark.parametrize(
    ("parse", "digits"),
    [
        (parse_decimal, "0123456789"),
        (parse_hexadecimal, "0123456789abcdefABCDEF"),
    ],
)
def test_nothing_but_ascii_digits_is_a_number(parse, digits, text):
    assert (parse(text) is not None) == (text != "" and set(text) <= set(digits))


@pytest.mark.parametrize("text", ["", "+1", "-1", " 1", "1 ", "1\n", "1_0", "٣", "²", "1.0", "0x1"])
def test_text_that_int_accepts_and_http_does_not(text):
    assert parse_decimal(text) is None
    assert parse_hexadecimal(text) is None
    assert parse_port(text) is None


@pytest.mark.parametrize(
    ("text", "port"), [("0", 0), ("65535", 65_535), ("65536", None), ("9" * 5_000, None)]
)
def test_a_port_has_16_bits(text, port):
    assert parse_port(text) == port
