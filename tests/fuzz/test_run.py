"""The fuzzer, as briefly as a test needs; make fuzz runs it longer."""

import math

import pytest

from tests.fuzz import run
from tests.fuzz.properties import PROPERTIES


def test_every_property_holds() -> None:
    """By rounds and not by time, so that every machine runs the same inputs."""
    lines: list[str] = []
    rounds = 500  # about 1 s; make test-all fuzzes for a minute
    assert run.fuzz(math.inf, 0, lines.append, rounds=rounds) == rounds * len(PROPERTIES)
    assert all("kinds of outcome" in line for line in lines)


def test_a_failing_input_can_be_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def has_no_x(data: bytes) -> int:
        assert b"x" not in data
        return len(data)

    monkeypatch.setattr(run, "PROPERTIES", {"no x": (has_no_x, (b"abc",))})
    assert run.main(["no x", "616263"]) == 0
    with pytest.raises(AssertionError):
        run.main(["no x", "78"])
    with pytest.raises(AssertionError):
        run.fuzz(60, 0, run.print_line)
    assert "again: python -m tests.fuzz.run no x " in capsys.readouterr().out
