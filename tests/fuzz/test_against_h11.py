"""Where aserve and h11 differ on how many requests are in a stream, aserve is the stricter one."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserve.http1.limits import Limits
from tests.fuzz.opinions import NARROW, WIDE, ours, require_same_however_cut, require_stricter
from tests.fuzz.streams import FOLLOWED, SHAPES, stream

RANDOM = st.randoms(use_true_random=False)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str) -> None:
    require_stricter(SHAPES[shape] + FOLLOWED)


@given(RANDOM)
@settings(max_examples=500, deadline=None)
def test_made_up(random: Random) -> None:
    require_stricter(stream(random))


@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@given(RANDOM)
@settings(max_examples=250, deadline=None)
def test_cutting_makes_no_difference(limits: Limits, random: Random) -> None:
    require_same_however_cut(stream(random), random, limits)


def require_equal_octet_by_octet(octets: bytes, limits: Limits) -> None:
    pieces = [octets[at : at + 1] for at in range(len(octets))]
    assert ours([octets], limits) == ours(pieces, limits)


@pytest.mark.parametrize("line", [b"GET  /a HTTP/1.1", b"GET /a"])
@pytest.mark.parametrize("fields", [b"Host: x\r\n", b"Host: x\r\n" * 20], ids=["few", "many"])
def test_a_line_is_judged_when_it_has_arrived(line: bytes, fields: bytes) -> None:
    require_equal_octet_by_octet(line + b"\r\n" + fields, NARROW)


def test_too_many_fields_are_too_many_however_they_arrive() -> None:
    octets = b"GET /a HTTP/1.1\r\nHost: x\r\nA: a\r\nB: b\r\nC: c\r\nno field\r\n\r\n"
    require_equal_octet_by_octet(octets, Limits(max_headers=2))


def test_a_line_of_just_the_allowed_length_is_allowed_however_it_arrives() -> None:
    limit = NARROW.max_request_line
    for length in limit - 1, limit, limit + 1:
        line = b"GET /".ljust(length - len(" HTTP/1.1"), b"a") + b" HTTP/1.1"
        require_equal_octet_by_octet(line + b"\r\nHost: x\r\n\r\n", NARROW)
