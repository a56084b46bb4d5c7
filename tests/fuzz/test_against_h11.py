"""Where aserve and h11 differ on the requests in a stream, aserve is the stricter one."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserve.http1.limits import Limits
from tests.fuzz.opinions import (
    NARROW,
    WIDE,
    check_split_independent,
    check_stricter_than_h11,
    parse_with_aserve,
)
from tests.fuzz.streams import SHAPES, SMUGGLED, random_stream

RANDOM = st.randoms(use_true_random=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str) -> None:
    check_stricter_than_h11(SHAPES[shape] + SMUGGLED)


@given(RANDOM)
@settings(max_examples=200, deadline=None)
def test_random_streams(random: Random) -> None:
    check_stricter_than_h11(random_stream(random))


@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@given(RANDOM)
@settings(max_examples=100, deadline=None)
def test_splitting_makes_no_difference(limits: Limits, random: Random) -> None:
    check_split_independent(random_stream(random), random, limits)


def check_byte_by_byte(data: bytes, limits: Limits) -> None:
    reads = [data[start : start + 1] for start in range(len(data))]
    assert parse_with_aserve([data], limits) == parse_with_aserve(reads, limits)


@pytest.mark.parametrize("line", [b"GET  /a HTTP/1.1", b"GET /a"])
@pytest.mark.parametrize("headers", [b"Host: x\r\n", b"Host: x\r\n" * 20], ids=["few", "many"])
def test_a_line_is_checked_when_it_is_complete(line: bytes, headers: bytes) -> None:
    check_byte_by_byte(line + b"\r\n" + headers, NARROW)


def test_too_many_headers_are_rejected_however_they_arrive() -> None:
    data = b"GET /a HTTP/1.1\r\nHost: x\r\nA: a\r\nB: b\r\nC: c\r\nno colon\r\n\r\n"
    check_byte_by_byte(data, Limits(max_headers=2))


def test_a_line_of_the_maximum_length_is_accepted_however_it_arrives() -> None:
    limit = NARROW.max_request_line
    for length in limit - 1, limit, limit + 1:
        line = b"GET /".ljust(length - len(" HTTP/1.1"), b"a") + b" HTTP/1.1"
        check_byte_by_byte(line + b"\r\nHost: x\r\n\r\n", NARROW)
