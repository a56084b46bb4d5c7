import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.messages import HttpError
from aserve.http1.body_reader import _MAX_STEPS, ChunkedReader, LengthReader

REST = b"GET /next"


def consume(reader, data, cuts=()):
    """Feed data split at cuts, keeping what was not consumed; return the rest at the end."""
    pending = b""
    for start, stop in zip((0, *cuts), (*cuts, len(data)), strict=True):
        pending += data[start:stop]
        if not reader.complete:
            pending = pending[reader.consume(pending, 0) :]
    return pending


def chunked(contents, extension=b"", trailers=b""):
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(data), extension, data) for data in contents if data)
    return chunks + b"0\r\n" + trailers + b"\r\n"


cuts = st.lists(st.integers(0, 60), max_size=8).map(sorted)


@given(st.lists(st.binary(max_size=20), max_size=4), cuts)
def test_the_end_of_a_chunked_body_is_found_however_it_is_split(contents, cuts):
    data = chunked(contents, b" ; a=b", b"X: y\r\n")
    reader = ChunkedReader(1_000, 1_000)
    assert consume(reader, data + REST, [cut for cut in cuts if cut <= len(data)]) == REST
    assert reader.complete


@given(st.integers(1, 50), cuts)
def test_the_end_of_a_body_of_known_length_is_found(length, cuts):
    data = b"x" * length + REST
    reader = LengthReader(length)
    assert consume(reader, data, [cut for cut in cuts if cut <= length]) == REST
    assert reader.complete


@pytest.mark.parametrize(
    "data",
    [b"5\r\nhello\r\n0\r\n\r\n", b"005\r\nhello\r\n000\r\n\r\n", b"A\r\n0123456789\r\n0\r\n\r\n",
     b'5;a;b=c;d="e;\\"f"\r\nhello\r\n0;x\r\n\r\n', b"0\r\nA: b\r\nC:\r\n\r\n"],
)  # fmt: skip
def test_valid_chunks(data):
    reader = ChunkedReader(100, 100)
    assert reader.consume(data + REST, 0) == len(data)
    assert reader.complete


@pytest.mark.parametrize(
    "data",
    [b"\r\n", b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1 \r\n", b" 1\r\n", b"1\nA\r\n",
     b"1;\r\n", b"1;=b\r\n", b"1;a=\r\n", b'1;a="b\r\n', b"1;a\rb\r\n", b"1\r\nAB", b"1\r\nA\n",
     b"1\r\nA\rB", b"0\r\nbad name: x\r\n", b"0\r\nname : x\r\n", b"0\r\n: x\r\n", b"0\r\nX\r\n",
     b"0\r\nX: a\0b\r\n", b"0\r\n folded\r\n", b"0\r\nX: y\n\n", b"1" * 17 + b"\r\n"],
)  # fmt: skip
def test_malformed_chunks(data):
    with pytest.raises(HttpError) as error:
        ChunkedReader(1 << 70, 1_000).consume(data, 0)
    assert error.value.status == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"65\r\n", 413),
        (b"40\r\n" + b"x" * 64 + b"\r\n40\r\n", 413),
        (b"1;" + b"a" * 300, 431),
        (b"1;" + b"a" * 300 + b"\r\n", 431),
        (b"0\r\n" + b"A: b\r\n" * 50, 431),
        (b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 50, 431),
    ],
)
def test_limits_of_chunks(data, status):
    with pytest.raises(HttpError) as error:
        ChunkedReader(100, 200).consume(data, 0)
    assert error.value.status == status


@pytest.mark.parametrize("steps", range(_MAX_STEPS - 2, _MAX_STEPS + 2))
def test_a_complete_body_is_not_paused(steps):
    chunks, trailers = divmod(steps - 2, 3)  # a chunk takes three steps, the end takes two
    data = chunked([b"a"] * chunks, trailers=b"X: y\r\n" * trailers)
    reader = ChunkedReader(1_000, 1_000)
    position = reader.consume(data + REST, 0)
    assert (reader.complete, reader.is_paused) == (steps <= _MAX_STEPS, steps > _MAX_STEPS)
    assert reader.consume(data + REST, position) == len(data)
    assert (reader.complete, reader.is_paused) == (True, False)
