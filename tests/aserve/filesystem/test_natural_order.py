"""The natural order of names, and sorting in steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.filesystem import natural_order
from aserve.filesystem.natural_order import (
    contains,
    find_in_any_case,
    fold_case,
    sort_in_steps,
    sort_naturally,
    with_name,
)

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


@given(st.lists(NAMES, unique=True), NAMES)
def test_a_name_is_found_where_it_is(names: list[bytes], name: bytes) -> None:
    ordered = sort_naturally(names)
    assert contains(ordered, name) == (name in names)
    assert all(contains(ordered, each) for each in names)


@given(
    st.lists(st.sampled_from([b"A", b"a", b"A1", b"a1", b"a01", b"\xc3\x84", b"\xc3\xa4", b"b"]))
)
def test_a_name_is_found_in_any_case(names: list[bytes]) -> None:
    ordered = sort_naturally(set(names))
    for wanted in (b"a", b"a1", b"\xc3\xa4", b"c"):
        equal = [name for name in ordered if fold_case(name) == wanted]
        found = find_in_any_case(ordered, wanted)
        assert found in equal if equal else found is None


@given(st.sets(NAMES), NAMES, st.booleans())
def test_a_name_is_put_where_it_belongs_or_left_out(
    names: set[bytes], name: bytes, is_there: bool
) -> None:
    expected = names | {name} if is_there else names - {name}
    found = with_name(sort_naturally(names), name, is_there=is_there)
    assert found == sort_naturally(expected)
