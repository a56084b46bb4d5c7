"""Streams as they are sent, RFC 9112 section 7.1."""

import pytest

from aserve.http.messages import BodyStream
from aserve.http1.body_encoder import ChunkedStream, FramedStream, SizedStream


def read_all(stream: FramedStream) -> list[bytes]:
    return list(iter(stream.read, b""))


def test_a_chunk_for_each_piece_and_one_at_the_end() -> None:
    stream = ChunkedStream(BodyStream([b"a" * 26, b"", b"b"]))
    assert read_all(stream) == [b"1a\r\n" + b"a" * 26 + b"\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"]
    assert stream.read() == b""


def test_a_stream_of_the_announced_length() -> None:
    assert read_all(SizedStream(BodyStream([b"ab", b"c"]), 3)) == [b"ab", b"c"]


@pytest.mark.parametrize(
    ("pieces", "error"), [([b"ab", b"cd"], ValueError), ([b"ab"], EOFError), ([], EOFError)]
)
def test_a_stream_of_another_length(pieces: list[bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        read_all(SizedStream(BodyStream(pieces), 3))


def test_closing_closes_the_generator() -> None:
    ended = []

    def pieces():  # type: ignore[no-untyped-def]
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append(True)

    stream = ChunkedStream(BodyStream(pieces()))
    stream.read()
    stream.close()
    assert ended
    assert read_all(stream) == [b"0\r\n\r\n"]
