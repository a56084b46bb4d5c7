"""The fuzzer, for as long as a test may take; make fuzz lets it run longer."""

import math

import pytest

from tests.fuzz import run
from tests.fuzz.properties import PROPERTIES

_ROUNDS = 2_000  # about 4 s


def test_every_property_holds() -> None:
    """By a number of rounds and not by time: what is tried is the same on every machine."""
    said: list[str] = []
    assert run.fuzz(math.inf, 0, said.append, rounds=_ROUNDS) == _ROUNDS * len(PROPERTIES)
    assert all("kinds of outcome" in line for line in said)


def test_what_breaks_a_property_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def has_no_x(octets: bytes) -> int:
        assert b"x" not in octets
        return len(octets)

    monkeypatch.setattr(run, "PROPERTIES", {"no x": (has_no_x, (b"abc",))})
    assert run.main(["no x", "616263"]) == 0
    with pytest.raises(AssertionError):
        run.main(["no x", "78"])
    with pytest.raises(AssertionError):
        run.fuzz(60, 0, run.say)
    assert "again: python -m tests.fuzz.run no x " in capsys.readouterr().out
