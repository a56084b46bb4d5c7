"""Responses that break the rules of RFC 9112, and how curl handles each."""

import asyncio
import itertools
import shutil
import subprocess

import pytest

from abench.client.pipelined import PipelinedParser
from abench.client.response_parser import ResponseError, ResponseParser
from abench.plan.url_file import WeightedUrl

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 5\r\n\r\nhello"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# name: the response, and whether curl 7.88 accepts it
ACCEPTED = {
    "folded": (OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", True),
    "folded by a tab": (OK + b"X: a\r\n\tb\r\nContent-Length: 5\r\n\r\nhello", True),
    "folded twice": (OK + b"X: a\r\n b\r\n  c\r\nContent-Length: 5\r\n\r\nhello", True),
    "folded to nothing": (OK + b"X: a\r\n \r\nContent-Length: 5\r\n\r\nhello", True),
    "folded at the end": (OK + b"Content-Length: 5\r\nX: a\r\n b\r\n\r\nhello", True),
    "a folded length": (OK + b"Content-Length:\r\n 5\r\n\r\nhello", False),  # 9112, 5.2: MUST
    "a length twice": (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", True),
    "a length twice, not adjacent": (
        OK + b"content-length: 5\r\nX: a\r\nContent-Length:5\r\n\r\nhello",
        True,
    ),
    "a length thrice": (OK + b"Content-Length: 5\r\n" * 3 + b"\r\nhello", True),
    "a list of lengths": (OK + b"Content-Length: 5, 5\r\n\r\nhello", True),
    "a length with zeros": (OK + b"Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello", True),
    "LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", True),
    "LF without a reason": (b"HTTP/1.1 200\nContent-Length: 5\n\nhello", True),
    "LF once": (OK + b"X: a\nContent-Length: 5\r\n\r\nhello", True),
    "LF at the end": (OK + b"Content-Length: 5\r\n\nhello", True),
    "LF and folded": (b"HTTP/1.1 200 OK\nX: a\n b\nContent-Length: 5\n\nhello", True),
    "LF before chunks": (
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\r\nhello\r\n0\r\n\r\n",
        True,
    ),
    "LF after 103": (
        b"HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        True,
    ),
    "204 and a chunk": (NO_CONTENT + b"\r\n" + LAST_CHUNK, True),
    "204, coded, and a chunk": (
        NO_CONTENT + b"Transfer-Encoding: chunked\r\n\r\n" + LAST_CHUNK,
        True,
    ),
    "304 and a chunk": (NOT_MODIFIED + b"\r\n" + LAST_CHUNK, True),
}
# Complete only if received in one read: after the head nothing tells of these bytes.
ACCEPTED_AND_CLOSED = {
    "204 and a body": NO_CONTENT + b"Content-Length: 5\r\n\r\nhello",
    "304 and a body": NOT_MODIFIED + b"Content-Length: 5\r\n\r\nhello",
}
REJECTED = {
    "NUL": (OK + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello", False),
    "NUL in a fold": (OK + b"X: a\r\n \0b\r\nContent-Length: 5\r\n\r\nhello", False),
    "whitespace first": (OK + b" X: a\r\nContent-Length: 5\r\n\r\nhello", False),
    "a negative length": (OK + b"Content-Length: -5\r\n\r\nhello", False),
    "no colon": (OK + b"X\r\nContent-Length: 5\r\n\r\nhello", False),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n\n", False),
    "no HTTP after a chunk": (LAST_CHUNK + b"SSH-2.0-OpenSSH_9.2\r\n\n", False),
    # docs/abench.md has the reasons
    "a length and chunks": (
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        True,
    ),
    "LF in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", True),
    "longer than its length": (SIZED + b"!", True),
    "a length and letters": (OK + b"Content-Length: 5x\r\n\r\nhello", True),
    "CR in a value": (OK + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello", True),
    "a space in a name": (OK + b"X y: a\r\nContent-Length: 5\r\n\r\nhello", True),
}


def lengths(first, second):
    return OK + b"Content-Length: %b\r\nContent-Length: %b\r\n\r\nhello" % (first, second)


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_accepted_wherever_it_is_cut(name):
    data, _ = ACCEPTED[name]
    data = data.removesuffix(LAST_CHUNK) if "and a chunk" in name else data
    for cut in range(1, len(data)):
        parser = ResponseParser()
        ends = [parser.feed(data[:cut]), parser.feed(data[cut:])]
        assert ends == [False, True]
        assert parser.keep_alive


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_accepted_byte_by_byte_and_repeatedly(name):
    data, _ = ACCEPTED[name]
    data = data.removesuffix(LAST_CHUNK) if "and a chunk" in name else data
    parser = ResponseParser()
    for _ in range(3):
        assert [parser.feed(data[at : at + 1]) for at in range(len(data))].index(True) > 15


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_next_one_is_recognized_by_the_received_bytes(name):
    data, _ = ACCEPTED[name]
    parser = ResponseParser()
    for _ in range(2):
        assert parser.feed(data)
    head = parser.recognizable_head()
    if b"chunked" in data or "103" in name:
        assert head is None
    else:
        assert data.startswith(head)
        assert head.endswith(b"\n")


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_is_accepted_in_response_to_head(name):
    data, _ = ACCEPTED[name]
    parser = ResponseParser(is_head_request=True)
    for _ in range(2):
        assert parser.feed(data.removesuffix(b"5\r\nhello\r\n0\r\n\r\n").removesuffix(b"hello"))


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_late_last_chunk_belongs_to_the_previous_response(status):
    response = b"HTTP/1.1 " + status + b"\r\n\r\n"
    for cut in range(len(LAST_CHUNK) + 1):
        parser = ResponseParser()
        assert parser.feed(response)
        parts = (LAST_CHUNK[:cut], LAST_CHUNK[cut:])
        assert not any(parser.feed(part) for part in parts if part)
        assert parser.feed(response)


@pytest.mark.parametrize("cut", range(1, len(LAST_CHUNK) + 1))
@pytest.mark.parametrize("is_head", [False, True])
def test_a_part_of_a_last_chunk_after_a_response_ends_its_connection(is_head, cut):
    parser = ResponseParser(is_head_request=is_head)
    assert parser.feed(NO_CONTENT + b"\r\n" + LAST_CHUNK[:cut])
    assert parser.keep_alive == (cut == len(LAST_CHUNK))


@pytest.mark.parametrize("name", ACCEPTED_AND_CLOSED)
def test_a_forbidden_body_ends_its_connection(name):
    parser = ResponseParser()
    assert parser.feed(ACCEPTED_AND_CLOSED[name])
    assert not parser.keep_alive


@pytest.mark.parametrize("name", REJECTED)
def test_it_is_rejected(name):
    data, _ = REJECTED[name]
    with pytest.raises(ResponseError):
        ResponseParser().feed(data)


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"5", b"6"), (b"5", b""), (b"5", b"+5"), (b"5", b"5, 6"), (b"5", b"9" * 5000)],
)
def test_lengths_that_differ_are_rejected(first, second):
    # RFC 9112 section 6.3 rule 5
    for one, other in itertools.permutations((first, second)):
        with pytest.raises(ResponseError):
            ResponseParser().feed(lengths(one, other))


def test_what_cannot_be_repaired_is_not_waited_for():
    for start in (b"HTTP/1.1 200 OK\rX", b"HTTP/1.1 2x", OK + b"X y", b"SSH-2.0-OpenSSH_9.2\r\n"):
        with pytest.raises(ResponseError):
            ResponseParser().feed(start)


@pytest.mark.parametrize("name", [*ACCEPTED, *ACCEPTED_AND_CLOSED])
async def test_a_run_counts_it_as_a_success(name, serve, run_plan):
    data = ACCEPTED[name][0] if name in ACCEPTED else ACCEPTED_AND_CLOSED[name]
    server = await serve(data)
    plan = {"url": server.url, "connections": 2, "requests": 20}
    for options in ({}, {"keep_alive": False}, {"urls": (WeightedUrl(server.url + "a"),)}):
        summary = (await run_plan(**plan, **options)).summary
        assert (summary.succeeded, summary.failed) == (20, 0)


@pytest.mark.parametrize("name", [name for name in ACCEPTED if name.startswith(("LF", "folded"))])
def test_a_pipeline_accepts_folds_and_lf(name):
    data, _ = ACCEPTED[name]
    assert PipelinedParser().feed(data * 3) == [200] * 3


def test_a_pipeline_rejects_nul():
    with pytest.raises(ResponseError):
        PipelinedParser().feed(REJECTED["NUL in a fold"][0])


def version_of_curl():
    if not shutil.which("curl"):
        return "none"
    ran = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True)
    return ran.stdout.split()[1]


@pytest.mark.skipif(
    not version_of_curl().startswith("7.88."), reason="other versions may accept more or less"
)
@pytest.mark.parametrize("name", [*ACCEPTED, *REJECTED])
async def test_curl_handles_it_as_the_table_says(name, serve):
    data, is_accepted = {**ACCEPTED, **REJECTED}[name]
    server = await serve(lambda peer: [peer.send(data), peer.close()])
    curl = await asyncio.create_subprocess_exec(
        "curl", "-s", "--max-time", "20", "-o", "/dev/null", server.url
    )
    assert (await curl.wait() == 0) == is_accepted
