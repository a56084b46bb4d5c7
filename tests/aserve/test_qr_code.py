"""Codes in a terminal: what is drawn is what the encoder has made, and a camera finds it."""

import re

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from aserve.cli.qr_code import format_qr_code

URL = "http://192.168.1.20:8000/"
HALVES = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def modules_of(lines: list[str]) -> list[list[int]]:
    """Return the rows of modules that characters show, 1 where ink is."""
    rows: list[list[int]] = []
    for line in lines:
        halves = [HALVES[character] for character in line]
        rows += [[half[0] for half in halves], [half[1] for half in halves]]
    return rows


def expected(text: str) -> list[list[int]]:
    matrix = segno.make_qr(text, error="l").matrix_iter(border=4)
    return [list(row) for row in matrix]


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=300))
def test_dark_modules_are_black_on_white(text: str) -> None:
    lines = format_qr_code(text, 300, 200, use_color=True)
    plain = []
    for line in lines:
        match = re.fullmatch("\x1b\\[38;5;16;48;5;231m([ ▀▄█]*)\x1b\\[0m", line)
        assert match
        plain.append(match[1])
    rows, matrix = modules_of(plain), expected(text)
    assert rows[: len(matrix)] == matrix
    assert not any(map(any, rows[len(matrix) :]))  # white


def test_without_colors_the_light_modules_are_drawn() -> None:
    lines = format_qr_code(URL, 80, 24, use_color=False)
    rows, matrix = modules_of(lines), expected(URL)
    assert rows[: len(matrix)] == [[1 - module for module in row] for row in matrix]
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("use_color", [True, False])
def test_a_code_has_a_margin_of_four_modules(use_color: bool) -> None:
    lines = format_qr_code(URL, 80, 24, use_color=use_color)
    rows = modules_of([re.sub("\x1b[^m]*m", "", line) for line in lines])[:33]
    light = 0 if use_color else 1
    for edge in (rows[:4], list(zip(*rows, strict=True))[:4], list(zip(*rows, strict=True))[-4:]):
        assert {module for row in edge for module in row} == {light}


def test_a_usual_address_fits_into_33_columns_and_18_lines() -> None:
    assert len(format_qr_code(URL, 33, 18, use_color=True)) == 17
    assert format_qr_code(URL, 32, 18, use_color=True) == []
    assert format_qr_code(URL, 33, 17, use_color=True) == []
