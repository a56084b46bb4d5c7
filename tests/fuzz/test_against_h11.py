"""Where aserve and h11 differ on how many requests are in a stream, aserve is the stricter one."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aserve.wire.limits import Limits
from tests.fuzz.opinions import ours, require_stricter
from tests.fuzz.streams import FOLLOWED, SHAPES, cut, stream

RANDOM = st.randoms(use_true_random=False)
NARROW = Limits(request_line=40, head=120, body=20)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str) -> None:
    require_stricter(SHAPES[shape] + FOLLOWED)


@given(RANDOM)
@settings(max_examples=500, deadline=None)
def test_made_up(random: Random) -> None:
    require_stricter(stream(random))


@pytest.mark.parametrize("limits", [Limits(), NARROW], ids=["wide", "narrow"])
@given(RANDOM)
@settings(max_examples=250, deadline=None)
def test_cutting_makes_no_difference(limits: Limits, random: Random) -> None:
    octets = stream(random)
    whole, pieces = ours([octets], limits), ours(cut(octets, random), limits)
    assert (pieces.requests, pieces.over[:3]) == (whole.requests, whole.over[:3])


@pytest.mark.xfail(
    reason="a whole line is only read closely once the head is complete", strict=True
)
@pytest.mark.parametrize("line", [b"GET  /a HTTP/1.1", b"GET /a"])
def test_a_line_is_judged_when_it_has_arrived(line: bytes) -> None:
    octets = line + b"\r\nHost: x\r\n"
    assert ours([octets]) == ours(octets[at : at + 1] for at in range(len(octets)))


@pytest.mark.xfail(reason="what is wrong behind the last field allowed is seen or not", strict=True)
def test_too_many_fields_are_too_many_however_they_arrive() -> None:
    octets = b"GET /a HTTP/1.1\r\nHost: x\r\nA: a\r\nB: b\r\nC: c\r\nno field\r\n\r\n"
    limits = Limits(fields=2)
    assert ours([octets], limits) == ours(
        (octets[at : at + 1] for at in range(len(octets))), limits
    )
