import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError
from aserve.http1.body_reader import ChunkedReader, LengthReader

REST = b"GET /next"


def consume(framing, octets, cuts=()):
    """Feed octets cut anywhere, keeping what was not taken; return what is left at the end."""
    pending = b""
    for start, stop in zip((0, *cuts), (*cuts, len(octets)), strict=True):
        pending += octets[start:stop]
        if not framing.complete:
            pending = pending[framing.consume(pending, 0) :]
    return pending


def chunked(parts, extension=b"", trailers=b""):
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
    return chunks + b"0\r\n" + trailers + b"\r\n"


cuts = st.lists(st.integers(0, 60), max_size=8).map(sorted)


@given(st.lists(st.binary(max_size=20), max_size=4), cuts)
def test_chunked_content_ends_where_it_ends_however_it_is_cut(parts, cuts):
    octets = chunked(parts, b" ; a=b", b"X: y\r\n")
    framing = ChunkedReader(1_000, 1_000)
    assert consume(framing, octets + REST, [cut for cut in cuts if cut <= len(octets)]) == REST
    assert framing.complete


@given(st.integers(1, 50), cuts)
def test_sized_content_ends_where_it_ends(length, cuts):
    octets = b"x" * length + REST
    framing = LengthReader(length)
    assert consume(framing, octets, [cut for cut in cuts if cut <= length]) == REST
    assert framing.complete


@pytest.mark.parametrize(
    "octets",
    [b"5\r\nhello\r\n0\r\n\r\n", b"005\r\nhello\r\n000\r\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n",
     b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;x\r\n\r\n', b"0\r\nA: b\r\nC:\r\n\r\n"],
)  # fmt: skip
def test_valid_chunks(octets):
    framing = ChunkedReader(100, 100)
    assert framing.consume(octets + REST, 0) == len(octets)
    assert framing.complete


@pytest.mark.parametrize(
    "octets",
    [b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1 \r\n", b" 1\r\n", b"1\nA\r\n",
     b"1;\r\n", b"1;=b\r\n", b"1;a=\r\n", b'1;a="b\r\n', b"1;a\rb\r\n", b"1\r\nAB", b"1\r\nA\n",
     b"1\r\nA\rB", b"0\r\nbad name: x\r\n", b"0\r\nname : x\r\n", b"0\r\n: x\r\n", b"0\r\nX\r\n",
     b"0\r\nX: a\0b\r\n", b"0\r\n folded\r\n", b"0\r\nX: y\n\n", b"1" * 17 + b"\r\n"],
)  # fmt: skip
def test_malformed_chunks(octets):
    with pytest.raises(HttpError) as refused:
        ChunkedReader(1 << 70, 1_000).consume(octets, 0)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"65\r\n", 413),
        (b"40\r\n" + b"x" * 64 + b"\r\n40\r\n", 413),
        (b"1;" + b"a" * 300, 431),
        (b"1;" + b"a" * 300 + b"\r\n", 431),
        (b"0\r\n" + b"A: b\r\n" * 50, 431),
        (b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 50, 431),
    ],
)
def test_limits_of_chunks(octets, status):
    with pytest.raises(HttpError) as refused:
        ChunkedReader(100, 200).consume(octets, 0)
    assert refused.value.status == status
