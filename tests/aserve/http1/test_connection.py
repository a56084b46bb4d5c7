from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aserve.http.error_pages import error_response
from aserve.http.messages import HttpError, Response
from aserve.http1.connection import H1Connection
from aserve.http1.limits import Limits
from aserve.http1.states import State

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def converse(*arrivals, limits=None, end=False):
    """Feed arrivals and answer each request with its target; return everything that was sent."""
    exchange, sent = H1Connection(limits or Limits()), b""

    def answer():
        nonlocal sent
        while request := exchange.next_request():
            echo = f"{request.method} {request.target}".encode()
            response = (
                error_response(request, request.error)
                if request.error
                else Response(200, (), (echo,), len(echo))
            )
            sent += b"".join(exchange.start_response(response, DATE))
            exchange.response_sent()

    for octets in arrivals:
        exchange.receive(octets)
        answer()
    if end:
        exchange.receive_eof()
        answer()
    # What comes behind the last reply lingers or not by when it arrives: both are an end.
    over = exchange.state in {State.LINGERING, State.CLOSED}
    return sent, State.CLOSED if over else exchange.state


def test_a_request_and_its_reply():
    sent, state = converse(GET)
    assert sent == (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: aserve\r\n"
        b"Content-Length: 6\r\n\r\nGET /a"
    )
    assert state is State.IDLE


STREAMS = [
    GET * 3,
    b"\r\n\r\n" + GET,
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /" + GET,
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n" + GET,
    b"GET /a HTTP/1.0\r\n\r\n" + GET,
    b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET,
    b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET,
    b"GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" + GET,
    b"GET /a HTTP/1.7\r\nHost: x\r\n\r\n" + GET,
    b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n" + GET,
    GET + b"garbage\r\n\r\n",
    GET + b"GET /a HTTP/1.1\r\nHost: x\r\nbad name: y\r\n\r\n" + GET,
    b"GET /a HTTP/1.1\r\n\r\n" + GET,
    b"GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX",
    b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000,
]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: repr(stream[:40]))
def test_octet_by_octet_the_reply_is_the_same(stream):
    limits = Limits(
        max_request_line=200, max_header_size=600, max_headers=10
    )  # keeps the octets few
    stream = stream[:900]
    assert converse(*(stream[n : n + 1] for n in range(len(stream))), limits=limits) == converse(
        stream, limits=limits
    )


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 42_000), max_size=6), st.booleans())
def test_a_request_split_anywhere_gives_the_same_reply(stream, cuts, end):
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(edges)]
    assert converse(*parts, end=end) == converse(stream, end=end)


fragments = st.sampled_from(
    [b"GET ", b"POST ", b"/", b"*", b" ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r", b"\n", b":",
     b"Host: x", b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: close", b"3",
     b"0", b"abc", b"\0", b"\xff", b"\t", b";", b"%41", GET]
)  # fmt: skip


@given(st.lists(fragments, max_size=30).map(b"".join), st.lists(st.integers(0, 300), max_size=4))
def test_no_octets_break_it_and_cuts_change_nothing(stream, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(edges)]
    assert converse(*parts, end=True) == converse(stream, end=True)


def test_one_request_is_out_at_a_time():
    exchange = H1Connection(Limits())
    exchange.receive(GET * 2)
    assert exchange.next_request() is not None
    assert exchange.next_request() is None
    assert exchange.buffered == len(GET)


@pytest.mark.parametrize(
    ("octets", "state"),
    [
        (b"garbage\r\n\r\n", State.LINGERING),
        (GET.replace(b"1.1", b"1.0") + GET, State.LINGERING),
        (GET.replace(b"1.1", b"1.0"), State.CLOSED),
    ],
)
def test_what_is_unread_after_the_last_reply_lingers(octets, state):
    exchange = H1Connection(Limits())
    exchange.receive(octets)
    exchange.next_request()
    (sent,) = exchange.start_response(Response(204), DATE)
    exchange.response_sent()
    assert b"\r\nConnection: close\r\n" in sent
    assert exchange.state is state


def test_content_that_is_not_wanted_is_not_invited():
    sent, state = converse(
        b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in sent
    assert state is State.CLOSED


def test_content_larger_than_the_limit_is_refused_before_it_is_read():
    sent, state = converse(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    assert sent.startswith(b"HTTP/1.1 413 ")
    assert state is State.CLOSED


def test_requests_before_the_clients_end_are_answered():
    sent, state = converse(GET * 2, end=True)
    assert sent.count(b"HTTP/1.1 200 ") == 2
    assert state is State.CLOSED


def test_a_request_cut_off_by_the_clients_end_is_refused():
    sent, state = converse(GET[:-4], end=True)
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert state is State.CLOSED


def test_the_owner_can_make_a_reply_the_last():
    exchange = H1Connection(Limits())
    exchange.receive(GET)
    exchange.next_request()
    exchange.close_after_response()
    (sent,) = exchange.start_response(Response(204), DATE)
    exchange.response_sent()
    assert b"\r\nConnection: close\r\n" in sent
    assert exchange.state is State.CLOSED


def test_the_owner_can_make_a_reply_the_last_that_is_leaving():
    exchange = H1Connection(Limits())
    exchange.receive(GET)
    exchange.next_request()
    exchange.start_response(Response(204), DATE)
    exchange.close_after_response()
    exchange.response_sent()
    assert exchange.state is State.CLOSED


def test_what_was_asked_behind_a_reply_that_was_to_be_the_last_is_answered():
    exchange = H1Connection(Limits())
    exchange.receive(2 * GET)
    exchange.next_request()
    exchange.start_response(Response(204), DATE)
    exchange.close_after_response()
    exchange.response_sent()
    assert exchange.next_request() is not None
    (sent,) = exchange.start_response(Response(204), DATE)
    assert b"\r\nConnection: close\r\n" in sent
    exchange.response_sent()
    assert exchange.state is State.CLOSED


def test_the_owner_can_refuse_what_has_not_arrived():
    exchange = H1Connection(Limits())
    exchange.receive(GET[:10])
    assert exchange.next_request() is None
    request = exchange.reject(HttpError(408, "Too slow."))
    assert (request.method, request.error.status) == ("GET", 408)
    assert exchange.start_response(error_response(request, request.error), DATE)[0].startswith(
        b"HTTP/1.1 408 "
    )


MANY_CHUNKS = (
    b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 2_000
)


def test_content_in_many_chunks_is_read_in_bounded_steps():
    exchange = H1Connection(Limits())
    exchange.receive(MANY_CHUNKS + b"0\r\n\r\n" + GET)
    steps = 0
    while not (request := exchange.next_request()):
        assert exchange.is_paused
        steps += 1
    assert steps > 5
    assert request.method == "PUT"
    assert not exchange.is_paused


def test_the_end_of_input_is_no_end_of_content_that_is_still_to_be_read():
    exchange = H1Connection(Limits())
    exchange.receive(MANY_CHUNKS + b"0\r\n\r\n")
    exchange.receive_eof()
    while not (request := exchange.next_request()):
        assert exchange.is_paused
    assert request.error is None


def test_content_that_ends_too_early_is_refused_however_many_chunks_it_has():
    exchange = H1Connection(Limits())
    exchange.receive(MANY_CHUNKS)
    exchange.receive_eof()
    while not (request := exchange.next_request()):
        assert exchange.is_paused
    assert request.error.status == 400


@pytest.mark.parametrize("replied", [False, True])
def test_a_request_that_is_out_can_be_refused_as_long_as_nothing_was_sent(replied):
    exchange = H1Connection(Limits())
    exchange.receive(GET * 2)
    exchange.next_request()
    if replied:
        exchange.start_response(Response(200), DATE)
    request = exchange.reject(HttpError(500, "why"))
    assert (request.target, request.error.status) == ("/a", 500)
    (octets,) = exchange.start_response(error_response(request, request.error), DATE)
    assert b"\r\nConnection: close\r\n" in octets
    exchange.response_sent()
    assert exchange.state is State.LINGERING


def test_empty_lines_before_a_request_are_passed_over_at_once():
    exchange = H1Connection(Limits())
    exchange.receive(b"\r\n" * 100_000 + GET)
    assert exchange.next_request().target == "/a"
