from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError
from aserve.http.ranges import MAX_RANGES, ByteRange, encode_multipart, satisfiable_ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 1000)]),
        ("bytes=-500", [(9500, 10000)]),
        ("bytes=9500-", [(9500, 10000)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 10000)]),
        ("bytes=500-600,601-999", [(500, 1000)]),
        ("bytes=500-700,601-999", [(500, 1000)]),
    ],
)
def test_the_examples_of_rfc_9110_section_14_1_2(header, expected):
    assert satisfiable_ranges(header, 10_000) == expected


spec = st.one_of(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda p: p[0] <= p[1]),
    st.tuples(st.integers(0, 60), st.none()),
    st.tuples(st.none(), st.integers(0, 60)),
)


def expected_positions(first, last, length):
    if first is None:
        return set(range(max(0, length - last), length))
    return set(range(first, length if last is None else min(last + 1, length)))


@pytest.mark.parametrize("header", ["0-1023", "0-", "5-", "-5", "-0", "0-1,-5"])
def test_an_empty_file_has_no_ranges(header):
    assert satisfiable_ranges(f"bytes={header}", 0) == []


@given(st.lists(spec, min_size=1, max_size=12), st.integers(1, 50))
def test_merging_loses_and_adds_no_byte(specs, length):
    header = "bytes=" + ", ".join(
        f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs
    )
    requested = set().union(*(expected_positions(first, last, length) for first, last in specs))
    if not requested:
        with pytest.raises(HttpError) as error:
            satisfiable_ranges(header, length)
        assert (error.value.status, error.value.headers) == (
            416,
            (("Content-Range", f"bytes */{length}"),),
        )
        return
    ranges = satisfiable_ranges(header, length)
    covered = [position for item in ranges for position in range(item.start, item.stop)]
    assert sorted(covered) == sorted(requested)  # as a list: no byte is sent twice


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=5-4", "bytes=--5", "bytes=1-2-3",
     "bytes=0-1;2-3", "lines=0-1", "bytes=0-1, x", "bytes = 0 - 1"],
)  # fmt: skip
def test_an_invalid_header_is_ignored(header):
    assert satisfiable_ranges(header, 100) == []


def test_too_many_ranges_are_ignored():
    specs = ",".join(f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1))
    assert satisfiable_ranges(f"bytes={specs}", 10_000) == []


def test_huge_positions_are_beyond_the_end():
    assert satisfiable_ranges("bytes=1-99999999999999999999999", 10) == [(1, 10)]


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=60), st.integers(0, 100))
def test_any_header_gives_ranges_within_the_file(header, length):
    with suppress(HttpError):
        ranges = satisfiable_ranges(header, length)
        assert all(0 <= item.start < item.stop <= length for item in ranges)


def test_multipart_declares_its_real_length():
    ranges = [ByteRange(0, 3), ByteRange(7, 9)]
    body = encode_multipart(
        ranges, lambda start, stop: b"0123456789"[start:stop], "text/plain", 10, "B"
    )
    text = b"".join(part for part in body.parts if isinstance(part, bytes))
    assert text == (
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-2/10\r\n\r\n012\r\n"
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-8/10\r\n\r\n78\r\n--B--\r\n"
    )
    assert body.length == len(text)
