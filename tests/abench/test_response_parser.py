import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abench.client.pipelined import PipelinedParser
from abench.client.response_parser import MAX_HEAD_SIZE, ResponseError, ResponseParser

SIZED = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: x\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

# name: bytes, whether it is to HEAD, status, whether the connection persists
COMPLETE = {
    "sized": (SIZED, False, 200, True),
    "sized, to be closed": (SIZED.replace(b"Date: x", b"Connection: close"), False, 200, False),
    "chunked": (CHUNKED, False, 200, True),
    "chunked without a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        False,
        200,
        True,
    ),
    "after 100 and 103": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + SIZED,
        False,
        200,
        True,
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", False, 204, True),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        False,
        304,
        True,
    ),
    "404": (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", False, 404, True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False, 200, False),
    "HTTP/1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        False,
        200,
        True,
    ),
    "to HEAD": (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", True, 200, True),
    "to HEAD, no length": (b"HTTP/1.1 200 OK\r\n\r\n", True, 200, True),
    "to HEAD, chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True, 200, True),
    "to HEAD after 103": (INTERIM + b"HTTP/1.1 200 OK\r\n\r\n", True, 200, True),
    "to HEAD, to be closed": (b"HTTP/1.1 200 OK\r\nConnection: x, close\r\n\r\n", True, 200, False),
}

UNTIL_CLOSED = {
    "until closed": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "until closed, empty": b"HTTP/1.1 200 OK\r\n\r\n",
    "coded, until closed": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    "until closed after 103": INTERIM + b"HTTP/1.0 200 OK\r\n\r\nContent-Length: 5",
}

TRUNCATED = {
    "nothing": b"",
    "half a head": SIZED[:20],
    "half a body": SIZED[:-1],
    "no body": SIZED[:-5],
    "half a chunk": CHUNKED[:60],
    "no last chunk": CHUNKED[: CHUNKED.index(b"0\r\nT")],
    "only 103": INTERIM,
}

INVALID = {
    "garbage": b"\x00\xff garbage",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "RTSP": SIZED.replace(b"HTTP/1.1", b"RTSP/1.0"),
    "HTTP/2.0": SIZED.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "two lengths": SIZED.replace(b"Date: x", b"Content-Length: 6"),
    "length and chunked": CHUNKED.replace(b"\r\n\r\n5", b"\r\nContent-Length: 5\r\n\r\n5"),
    "an empty line before": b"\r\n" + SIZED,
    "longer than its length": SIZED + b"!",
    "two responses": SIZED + SIZED,
    "a switch that was not requested": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: x\r\n\r\n",
}


def split_at(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


cuts = st.lists(st.integers(0, 1000), max_size=6)


@pytest.mark.parametrize("name", COMPLETE)
@given(cuts=cuts)
def test_a_response_cut_anywhere_is_the_same_response(name: str, cuts: list[int]) -> None:
    data, is_head, status, keep_alive = COMPLETE[name]
    parser = ResponseParser(is_head_request=is_head)
    ends = [parser.feed(part) for part in split_at(data, cuts)]
    assert ends == [False] * (len(ends) - 1) + [True]
    assert (parser.status, parser.keep_alive) == (status, keep_alive)
    assert not parser.has_begun


@pytest.mark.parametrize("name", [name for name, case in COMPLETE.items() if case[3]])
def test_the_next_response_on_a_connection_is_read_alike(name: str) -> None:
    data, is_head, status, _ = COMPLETE[name]
    parser = ResponseParser(is_head_request=is_head)
    for _ in range(3):
        assert [parser.feed(data[:30]), len(data) <= 30 or parser.feed(data[30:])][-1]
        assert parser.status == status


@pytest.mark.parametrize("name", UNTIL_CLOSED)
@given(cuts=cuts)
def test_a_response_without_a_length_ends_with_the_connection(name: str, cuts: list[int]) -> None:
    parser = ResponseParser()
    assert not any(parser.feed(part) for part in split_at(UNTIL_CLOSED[name], cuts))
    assert parser.has_begun
    assert parser.finish()
    assert (parser.status, parser.keep_alive) == (200, False)
    assert parser.recognizable_head() is None


@pytest.mark.parametrize("name", TRUNCATED)
@given(cuts=cuts)
def test_a_truncated_response_is_never_complete(name: str, cuts: list[int]) -> None:
    parser = ResponseParser()
    assert not any(parser.feed(part) for part in split_at(TRUNCATED[name], cuts))
    assert not parser.finish()
    assert parser.has_begun == (TRUNCATED[name] != b"")


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_response_is_rejected(name: str) -> None:
    with pytest.raises(ResponseError):
        ResponseParser().feed(INVALID[name])


def test_a_body_in_response_to_head_is_rejected() -> None:
    with pytest.raises(ResponseError):
        ResponseParser(is_head_request=True).feed(SIZED)


@pytest.mark.parametrize("kind", [ResponseParser, PipelinedParser])
def test_a_head_without_end_is_rejected(kind: type[ResponseParser | PipelinedParser]) -> None:
    parser = kind()
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    header = b"X-Filler: " + b"x" * 50_000 + b"\r\n"
    for _ in range(MAX_HEAD_SIZE // len(header)):
        parser.feed(header)
    with pytest.raises(ResponseError):
        parser.feed(header)


def test_the_heads_of_a_pipeline_are_limited_one_by_one() -> None:
    parser = PipelinedParser()
    for _ in range(3):
        assert not parser.feed(b"HTTP/1.1 204 No Content\r\nX-Filler: " + b"x" * 700_000)
        assert parser.feed(b"\r\n\r\n") == [204]


@pytest.mark.parametrize("kind", [ResponseParser, PipelinedParser])
def test_a_long_body_is_not_buffered(kind: type[ResponseParser | PipelinedParser]) -> None:
    parser = kind()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n"
    assert not parser.feed(head + bytes(1_000_000))
    for _ in range(7):
        assert not parser.feed(bytes(1_000_000))
    assert parser.feed(bytes(1_000_000))


@pytest.mark.parametrize(
    ("name", "recognizable"),
    [
        ("sized", True),
        ("304 with a length", True),
        ("to HEAD", True),
        ("chunked", False),
        ("after 100 and 103", False),
        ("sized, to be closed", True),
    ],
)
def test_only_a_head_that_decides_the_length_is_recognizable(
    name: str, *, recognizable: bool
) -> None:
    data, is_head, _, _ = COMPLETE[name]
    parser = ResponseParser(is_head_request=is_head)
    assert parser.feed(data)
    head = parser.recognizable_head()
    assert (head is not None) == recognizable
    if head is not None:
        assert data.startswith(head)
        assert head.endswith(b"\r\n\r\n")


def test_a_response_in_two_reads_is_not_recognizable() -> None:
    parser = ResponseParser()
    parser.feed(SIZED[:-1])
    parser.feed(SIZED[-1:])
    assert parser.recognizable_head() is None
