"""Packed entries and members are what was packed, and no objects."""

import gc
from array import array

from hypothesis import given
from hypothesis import strategies as st

from aserve.filesystem.packed import Packed, PackedEntries
from aserve.handlers.archive.layout import Member, PackedMembers
from aserve.http.resources import Entry

_times = st.integers(-(1 << 62), 1 << 63)  # nanoseconds, until 2262 and beyond
_sizes = st.integers(0, (1 << 63) - 1)
_entries = st.builds(
    Entry,
    st.binary(),
    st.booleans(),
    _sizes,
    _times,
    st.booleans(),
    st.integers(0, 0o177777),
    _times,
    st.integers(0, (1 << 64) - 1),
)
_members = st.builds(
    Member, st.binary(), _sizes, _times, st.integers(0, 0o777), st.sampled_from(["", '"a1"'])
)


def check(packed: Packed[Entry] | Packed[Member], values: list[Entry] | list[Member]) -> None:
    assert list(packed) == values
    assert [packed[place] for place in range(len(packed))] == values
    assert packed[1:3] == values[1:3]
    assert packed[::-1] == values[::-1]
    # The garbage collector has nothing to go through, however many there are.
    assert set(gc.get_referents(*vars(packed).values())) <= {array}


@given(st.lists(_entries))
def test_entries_are_as_they_were(entries: list[Entry]) -> None:
    check(PackedEntries(entries), entries)


@given(st.lists(_members))
def test_members_are_as_they_were(members: list[Member]) -> None:
    check(PackedMembers(members), members)


@given(st.lists(_members, min_size=1), _times)
def test_the_first_can_be_replaced(members: list[Member], modified: int) -> None:
    packed = PackedMembers(members)
    first = members[0]._replace(modified=modified)
    packed.replace_first(first)
    check(packed, [first, *members[1:]])
