"""The natural order of names, and sorting in steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.filesystem import natural_order, steps
from aserve.filesystem.natural_order import fold_case, sort_in_steps, sort_naturally

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name)


@pytest.mark.parametrize(
    "ordered",
    [
        "1 2 010 10 A a a1 a2 a10 a10b a10b2 a11 B",
        "v1.2 v1.10 v1.10.1 v2.0",
        "IMG_9.jpg img_10.JPG IMG_100.jpg",
        "a a/b a/b/c a-b a.b",
        "x0 x00 x000 x01 x1 x1a",
        "1" + "0" * 254 + " 1" + "0" * 253 + "1",
    ],
)
def test_names_are_ordered_as_people_expect(ordered: str) -> None:
    names = ordered.encode().split()
    assert sort_naturally(reversed(names)) == names


def test_case_and_the_encoding_of_accents_make_no_difference() -> None:
    assert fold_case("É".encode()) == fold_case("e\u0301".encode())
    assert fold_case(b"A") == b"a"
    assert fold_case(b"\xff") == b"\xff"


@given(st.lists(NAMES, unique=True))
def test_every_name_stays_whatever_its_bytes(names: list[bytes]) -> None:
    ordered = sort_naturally(names)
    assert sorted(ordered) == sorted(names)
    assert sort_naturally(reversed(names)) == ordered


@given(st.lists(st.integers()), st.integers(1, 5))
def test_steps_make_no_difference(keys: list[int], step: int) -> None:
    """But that no sort, which keeps the interpreter until it is done, is of more than two."""
    lengths = [0]

    def counting(keys: list[int]) -> list[int]:
        lengths.append(len(keys))
        return sorted(keys)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(natural_order, "_STEP", step)
        patch.setattr(natural_order, "sorted", counting, raising=False)
        assert sort_in_steps(keys) == sorted(keys)
    assert max(lengths) <= 2 * step


def test_work_pauses_between_steps_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    clock = iter([0.0, 0.001, 0.003, 0.0, 0.001, 0.002])
    monkeypatch.setattr(steps, "sleep", lambda _: done.append("pause"))
    for item in steps.in_steps("abcdefg", 2, clock=lambda: next(clock)):
        done += item
    assert "".join(done) == "abcdpauseefg"
