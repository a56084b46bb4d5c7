"""Whatever a handler returns, the client finds the end of the response (RFC 9112 section 6.3)."""

import pytest

from aserve.http.error_pages import error_response
from aserve.http.messages import BodyStream, HttpError, Request, Response
from aserve.http1.body_encoder import ChunkedStream, SizedStream
from aserve.http1.response_framing import frame_response

GET, HEAD = Request("GET", "/"), Request("HEAD", "/")
STATUSES_WITHOUT_BODY = [103, 204, 304]


class Pieces:
    """Pieces of which none may be taken."""

    is_closed = False

    def __iter__(self):
        return self

    def __next__(self):
        raise AssertionError

    def close(self):
        self.is_closed = True


@pytest.mark.parametrize("body", [(), (b"",), (b"one", b"two")])
def test_a_body_without_a_length_gets_one(body):
    size = sum(map(len, body))
    framed, body_size = frame_response(GET, Response(201, body=body))
    assert (framed.length, framed.body, body_size) == (size, body, size)


@pytest.mark.parametrize("length", [2, 4, 0])
def test_a_length_that_is_not_that_of_the_body_is_an_error(length):
    with pytest.raises(ValueError, match=f"3 bytes, but a length of {length}"):
        frame_response(GET, Response(200, body=(b"abc",), length=length))


@pytest.mark.parametrize("length", [None, 3])
def test_head_gets_the_length_of_the_body_and_not_the_body(length):
    framed, body_size = frame_response(HEAD, Response(200, body=(b"abc",), length=length))
    assert (framed.length, framed.body, body_size) == (3, (), 0)


def test_a_response_to_head_may_have_no_length():
    assert frame_response(HEAD, Response(200)) == (Response(200), 0)


def test_an_error_page_is_not_sent_to_head():
    page = error_response(HEAD, HttpError(404, "Not here."))
    framed, body_size = frame_response(HEAD, page)
    assert (framed.length, framed.body, body_size) == (len(page.body[0]), (), 0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [(HEAD, 200), *((GET, status) for status in STATUSES_WITHOUT_BODY)],
    ids=["HEAD", *map(str, STATUSES_WITHOUT_BODY)],
)
def test_a_stream_that_is_not_sent_is_closed(request_, status):
    pieces = Pieces()
    framed, _ = frame_response(request_, Response(status, body=(BodyStream(pieces),)))
    assert framed == Response(status)  # without Transfer-Encoding, too
    assert pieces.is_closed


@pytest.mark.parametrize("status", STATUSES_WITHOUT_BODY)
def test_a_status_without_a_body_has_none(status):
    framed, body_size = frame_response(GET, Response(status, body=(b"abc",)))
    assert (framed, body_size) == (Response(status), 0)


def test_content_length_may_describe_what_was_not_modified_and_nothing_else():
    """RFC 9110 section 8.6: it is forbidden for 1xx and 204."""
    assert [
        frame_response(GET, Response(status, length=3))[0].length
        for status in STATUSES_WITHOUT_BODY
    ] == [None, None, 3]


@pytest.mark.parametrize(("length", "framing"), [(None, ChunkedStream), (0, SizedStream)])
def test_a_stream_is_framed(length, framing):
    framed, body_size = frame_response(GET, Response(200, (), (BodyStream(()),), length))
    assert [type(part) for part in framed.body] == [framing]
    assert (framed.length, body_size) == (length, 0)


def test_a_stream_with_other_parts_is_an_error_and_is_closed():
    pieces = Pieces()
    response = Response(200, body=(b"abc", BodyStream(pieces)))
    with pytest.raises(ValueError, match="other parts beside it"):
        frame_response(GET, response)
    assert pieces.is_closed
