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


def run_exchange(*reads, limits=None, eof=False):
    """Receive each of reads and echo each request's target; return the output and the state."""
    connection, sent = H1Connection(limits or Limits()), b""

    def answer():
        nonlocal sent
        while request := connection.next_request():
            echo = f"{request.method} {request.target}".encode()
            response = (
                error_response(request, request.error)
                if request.error
                else Response(200, (), (echo,), len(echo))
            )
            sent += b"".join(connection.start_response(response, DATE))
            connection.response_sent()

    for data in reads:
        connection.receive(data)
        answer()
    if eof:
        connection.receive_eof()
        answer()
    # Whether the connection lingers depends on when input after the last response arrives.
    is_closed = connection.state in {State.LINGERING, State.CLOSED}
    return sent, State.CLOSED if is_closed else connection.state


def test_a_request_and_its_response():
    sent, state = run_exchange(GET)
    assert sent == (
        b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 6\r\n\r\nGET /a"
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
def test_byte_by_byte_the_response_is_the_same(stream):
    limits = Limits(
        max_request_line=200, max_header_size=600, max_headers=10
    )  # keeps the streams short
    stream = stream[:900]
    assert run_exchange(
        *(stream[n : n + 1] for n in range(len(stream))), limits=limits
    ) == run_exchange(stream, limits=limits)


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 42_000), max_size=6), st.booleans())
def test_a_request_split_anywhere_gives_the_same_response(stream, cuts, eof):
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reads = [stream[a:b] for a, b in pairwise(edges)]
    assert run_exchange(*reads, eof=eof) == run_exchange(stream, eof=eof)


fragments = st.sampled_from(
    [b"GET ", b"POST ", b"/", b"*", b" ", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\r", b"\n", b":",
     b"Host: x", b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: close", b"3",
     b"0", b"abc", b"\0", b"\xff", b"\t", b";", b"%41", GET]
)  # fmt: skip


@given(st.lists(fragments, max_size=30).map(b"".join), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_give_the_same_responses_however_split(stream, cuts):
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    reads = [stream[a:b] for a, b in pairwise(edges)]
    assert run_exchange(*reads, eof=True) == run_exchange(stream, eof=True)


def test_one_request_is_handled_at_a_time():
    connection = H1Connection(Limits())
    connection.receive(GET * 2)
    assert connection.next_request() is not None
    assert connection.next_request() is None
    assert connection.buffered == len(GET)


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (b"garbage\r\n\r\n", State.LINGERING),
        (GET.replace(b"1.1", b"1.0") + GET, State.LINGERING),
        (GET.replace(b"1.1", b"1.0"), State.CLOSED),
    ],
)
def test_unread_input_after_the_last_response_makes_it_linger(data, state):
    connection = H1Connection(Limits())
    connection.receive(data)
    connection.next_request()
    (sent,) = connection.start_response(Response(204), DATE)
    connection.response_sent()
    assert b"\r\nConnection: close\r\n" in sent
    assert connection.state is state


def test_100_continue_is_not_sent_for_an_unused_body():
    sent, state = run_exchange(
        b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in sent
    assert state is State.CLOSED


def test_a_body_over_the_limit_is_rejected_before_it_is_read():
    sent, state = run_exchange(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    assert sent.startswith(b"HTTP/1.1 413 ")
    assert state is State.CLOSED


def test_requests_before_eof_are_answered():
    sent, state = run_exchange(GET * 2, eof=True)
    assert sent.count(b"HTTP/1.1 200 ") == 2
    assert state is State.CLOSED


def test_a_request_cut_off_by_eof_is_rejected():
    sent, state = run_exchange(GET[:-4], eof=True)
    assert sent.startswith(b"HTTP/1.1 400 ")
    assert state is State.CLOSED


def test_close_after_the_next_response():
    connection = H1Connection(Limits())
    connection.receive(GET)
    connection.next_request()
    connection.close_after_response()
    (sent,) = connection.start_response(Response(204), DATE)
    connection.response_sent()
    assert b"\r\nConnection: close\r\n" in sent
    assert connection.state is State.CLOSED


def test_close_after_a_response_that_is_not_started_yet():
    connection = H1Connection(Limits())
    connection.receive(GET)
    connection.next_request()
    connection.start_response(Response(200), DATE)
    connection.close_after_next_response()
    connection.response_sent()
    assert connection.state is State.IDLE  # it had announced that it stays open
    assert not connection.is_idle
    connection.receive(GET)
    connection.next_request()
    (head,) = connection.start_response(Response(200), DATE)
    assert b"\r\nConnection: close\r\n" in head
    connection.response_sent()
    assert connection.state is State.CLOSED


def test_close_after_the_response_that_is_being_sent():
    connection = H1Connection(Limits())
    connection.receive(GET)
    connection.next_request()
    connection.start_response(Response(204), DATE)
    connection.close_after_response()
    connection.response_sent()
    assert connection.state is State.CLOSED


def test_a_request_pipelined_behind_the_last_response_is_still_answered():
    connection = H1Connection(Limits())
    connection.receive(2 * GET)
    connection.next_request()
    connection.start_response(Response(204), DATE)
    connection.close_after_response()
    connection.response_sent()
    assert connection.next_request() is not None
    (sent,) = connection.start_response(Response(204), DATE)
    assert b"\r\nConnection: close\r\n" in sent
    connection.response_sent()
    assert connection.state is State.CLOSED


def test_an_incomplete_request_can_be_rejected():
    connection = H1Connection(Limits())
    connection.receive(GET[:10])
    assert connection.next_request() is None
    request = connection.reject(HttpError(408, "Too slow."))
    assert (request.method, request.error.status) == ("GET", 408)
    assert connection.start_response(error_response(request, request.error), DATE)[0].startswith(
        b"HTTP/1.1 408 "
    )


MANY_CHUNKS = (
    b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 2_000
)


def test_a_body_in_many_chunks_is_read_in_bounded_steps():
    connection = H1Connection(Limits())
    connection.receive(MANY_CHUNKS + b"0\r\n\r\n" + GET)
    steps = 0
    while not (request := connection.next_request()):
        assert connection.is_paused
        steps += 1
    assert steps > 5
    assert request.method == "PUT"
    assert not connection.is_paused


def test_eof_does_not_cut_off_a_body_that_is_buffered():
    connection = H1Connection(Limits())
    connection.receive(MANY_CHUNKS + b"0\r\n\r\n")
    connection.receive_eof()
    while not (request := connection.next_request()):
        assert connection.is_paused
    assert request.error is None


def test_a_truncated_body_in_many_chunks_is_rejected():
    connection = H1Connection(Limits())
    connection.receive(MANY_CHUNKS)
    connection.receive_eof()
    while not (request := connection.next_request()):
        assert connection.is_paused
    assert request.error.status == 400


@pytest.mark.parametrize("chunks", [169, 170, 171])  # 509, 512 and 515 steps with the end
def test_nothing_is_paused_behind_a_complete_body(chunks):
    head = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = H1Connection(Limits())
    connection.receive(head + b"1\r\na\r\n" * chunks + b"0\r\n\r\n")
    while not connection.next_request():
        assert connection.is_paused
    connection.start_response(Response(204), DATE)
    connection.response_sent()
    connection.receive(b"G")
    assert connection.next_request() is None
    assert not connection.is_paused  # a caller that tries again would do so for ever


@pytest.mark.parametrize("has_response", [False, True])
def test_a_request_can_be_rejected_until_a_response_is_sent(has_response):
    connection = H1Connection(Limits())
    connection.receive(GET * 2)
    connection.next_request()
    if has_response:
        connection.start_response(Response(200), DATE)
    request = connection.reject(HttpError(500, "detail"))
    assert (request.target, request.error.status) == ("/a", 500)
    (data,) = connection.start_response(error_response(request, request.error), DATE)
    assert b"\r\nConnection: close\r\n" in data
    connection.response_sent()
    assert connection.state is State.LINGERING


def test_empty_lines_before_a_request_are_skipped_quickly():
    connection = H1Connection(Limits())
    connection.receive(b"\r\n" * 100_000 + GET)
    assert connection.next_request().target == "/a"


class Sink:
    """Collects a body."""

    may_wait = False

    def __init__(self, max_size=100):
        self.max_size = max_size
        self.data = b""

    def write(self, data):
        self.data += data


def receive_body(*reads, sink):
    """Receive each of reads, and pass on what is read of a body; return the last request."""
    connection, request = H1Connection(Limits()), None
    connection.accept_body = lambda _: sink
    for data in reads:
        connection.receive(data)
        request = request or connection.next_request()
        sink.write(connection.take_body())
    return connection, request


CHUNKS = b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nT: u\r\n\r\n"
BODIES = [
    b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
]


@given(st.sampled_from(BODIES), st.lists(st.integers(0, 90), max_size=8).map(sorted))
def test_a_sink_gets_the_same_body_however_it_is_split(message, cuts):
    stops = [cut for cut in cuts if cut <= len(message)]
    reads = [message[start:stop] for start, stop in pairwise([0, *stops, len(message)])]
    sink = Sink()
    connection, request = receive_body(*reads, sink=sink)
    assert (request.method, sink.data) == ("PUT", b"hello")
    assert connection.state is State.HANDLING
    assert not connection.buffered


def test_no_more_is_read_while_a_part_of_the_body_is_not_taken():
    connection = H1Connection(Limits())
    connection.accept_body = lambda _: Sink()
    connection.receive(BODIES[0][:-3])
    assert connection.next_request() is None
    connection.receive(BODIES[0][-3:])
    assert connection.next_request() is None
    assert (connection.buffered, connection.take_body()) == (3, b"he")
    connection.receive_eof()
    assert connection.next_request().error is None
    assert connection.take_body() == b"llo"


@given(st.sampled_from(BODIES), st.lists(st.integers(0, 90), max_size=8).map(sorted), st.data())
def test_a_body_of_which_the_sink_reads_some_by_itself_is_the_same(message, cuts, data):
    sink, request = Sink(), None
    connection = H1Connection(Limits())
    connection.accept_body = lambda _: sink
    stops = [cut for cut in cuts if cut <= len(message)]
    for start, stop in pairwise([0, *stops, len(message)]):
        size = min(stop - start, connection.unread_body)
        size = size if size and data.draw(st.booleans()) else 0
        sink.write(message[start : start + size])
        connection.skip_body(size)
        connection.receive(message[start + size : stop])
        request = request or connection.next_request()
        sink.write(connection.take_body())
    assert (request.method, request.error, sink.data) == ("PUT", None, b"hello")
    assert connection.state is State.HANDLING
    assert connection.body_received == len(b"hello")
    assert connection.buffered == connection.unread_body == 0


@pytest.mark.parametrize(
    ("data", "unread"),
    [
        (BODIES[0], 0),
        (BODIES[0][:-2], 2),
        (BODIES[0][:-5], 5),
        (BODIES[0][:-6], 0),
        (BODIES[0] + GET, 0),
        (BODIES[1][:-1], 0),
    ],
    ids=["all", "some", "the head alone", "not all of the head", "one more request", "chunks"],
)
def test_only_the_rest_of_a_body_of_known_length_is_unread(data, unread):
    connection, _ = receive_body(data, sink=Sink())
    assert connection.unread_body == unread


def test_nothing_is_unread_that_waits_in_the_input():
    connection = H1Connection(Limits())
    connection.accept_body = lambda _: Sink()
    connection.receive(BODIES[0][:-3])
    assert connection.next_request() is None
    connection.receive(BODIES[0][-3:-1])
    assert connection.next_request() is None
    assert (connection.buffered, connection.unread_body) == (2, 0)


@pytest.mark.parametrize(
    ("data", "waits"), [(b"", True), (b"h", False)], ids=["the head alone", "with some of the body"]
)
def test_a_client_that_sends_its_body_does_not_wait_for_100_continue(data, waits):
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    connection, _ = receive_body(head + data, sink=Sink())
    assert connection.wants_continue is waits


def test_a_body_over_the_limit_of_its_sink():
    connection, request = receive_body(BODIES[0], sink=Sink(max_size=4))
    assert request.error.status == 413
    assert not connection.keep_alive


@pytest.mark.parametrize("request_line", [b"CONNECT closed:1", b"CONNECT /"])
def test_bytes_behind_a_refused_connect_are_no_requests(request_line):
    connection = H1Connection(Limits())
    connection.receive(request_line + b" HTTP/1.1\r\nHost: closed:1\r\n\r\n" + GET)
    assert connection.next_request().method == "CONNECT"
    (head,) = connection.start_response(Response(502), DATE)
    assert b"\r\nConnection: close\r\n" in head
    connection.response_sent()
    assert connection.state is State.LINGERING
    assert connection.next_request() is None


def test_a_refused_connect_lingers_for_what_the_client_may_still_send():
    connection = H1Connection(Limits())
    connection.receive(b"CONNECT closed:1 HTTP/1.1\r\nHost: closed:1\r\n\r\n")
    connection.next_request()
    connection.start_response(Response(502), DATE)
    connection.response_sent()
    assert connection.state is State.LINGERING


EMPTY = b"PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
EXPECTING = EMPTY.replace(b"Host", b"Expect: 100-continue\r\nHost")


@pytest.mark.parametrize(
    ("message", "is_accepted"), [(EMPTY, True), (EXPECTING, True), (GET, False)]
)
def test_a_sink_gets_an_empty_body_that_is_announced(message, is_accepted):
    sink = Sink()
    connection, request = receive_body(message, sink=sink)
    assert request.error is None
    assert connection.sink is (sink if is_accepted else None)
    assert not connection.wants_continue
    assert connection.keep_alive


@pytest.mark.parametrize(("message", "keeps"), [(BODIES[0], True), (BODIES[0][:-1], False)])
def test_only_a_whole_body_can_be_refused_without_closing(message, keeps):
    connection, _ = receive_body(message, sink=Sink())
    request = connection.reject_body(HttpError(409, "It is there already."))
    assert (request.method, request.error.status) == ("PUT", 409)
    assert connection.state is State.HANDLING
    assert connection.keep_alive is keeps


COUNTED = [
    *(GET, b"\r\n\r\n" + GET, b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /a HTTP/1.0\r\n\r\n"),
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
]


@pytest.mark.parametrize("message", COUNTED)
def test_each_request_is_counted_once_however_it_comes(message):
    for reads in ([message], [bytes([byte]) for byte in message]):
        connection, counted = H1Connection(Limits()), []
        connection.count_request = counted.append
        requests = []
        for data in reads:
            connection.receive(data)
            requests.append(connection.next_request())
        assert counted == [*filter(None, requests)]
        assert counted[0].error is None


def test_an_invalid_request_is_not_counted():
    connection = H1Connection(Limits())
    connection.count_request = pytest.fail
    connection.receive(b"GET /a HTTP/1.1\r\n\r\n")  # no Host
    assert connection.next_request().error.status == 400


def refused(message):
    """Return a connection that refuses all it is asked, and the request."""
    connection = H1Connection(Limits())
    connection.count_request = lambda _: HttpError(429, "Too many.")
    connection.accept_body = pytest.fail
    connection.receive(message)
    return connection, connection.next_request()


def answer_refused(connection, request):
    response = error_response(request, request.error)
    sent = b"".join(connection.start_response(response, DATE))
    connection.response_sent()
    return sent


@pytest.mark.parametrize("message", [*COUNTED[:3], COUNTED[4].replace(b"5", b"0")[:-5]])
def test_a_refused_request_without_a_body_leaves_the_connection_open(message):
    connection, request = refused(message)
    assert request.error.status == 429
    sent = answer_refused(connection, request)
    assert b"Connection: close" not in sent
    assert connection.state is State.IDLE


@pytest.mark.parametrize("message", COUNTED[4:])
def test_of_the_body_of_a_refused_request_nothing_is_read(message):
    connection, request = refused(message)
    assert (request.method, request.error.status) == ("POST", 429)
    assert not connection.wants_continue
    assert b"\r\nConnection: close\r\n" in answer_refused(connection, request)
    assert connection.state is State.LINGERING
    connection.receive(GET)
    assert connection.next_request() is None
