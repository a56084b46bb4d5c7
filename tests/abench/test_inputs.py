"""What options read from streams, which can be read only once."""

import os
import threading

import pytest

from abench.errors import ParameterError
from abench.plan import log_replay, request_body, url_file
from tests.marks import slow

AB_TEST = ("ab-test", "--rounds", "3", "-n", "20", "-w", "2")


@pytest.fixture
def run_with_input(start_abench):
    async def run(data, *arguments):
        process = await start_abench(*arguments)
        _, err = await process.communicate(data)
        return process.returncode, err

    return run


def respond(peer):
    peer.server.bodies = getattr(peer.server, "bodies", set())

    def data_received(data):
        peer.server.bodies.add(data.partition(b"\r\n\r\n")[2])
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    peer.data_received = data_received


@pytest.mark.parametrize("path", ["-", slow("/dev/stdin")])
async def test_both_sides_are_sent_the_same_standard_input(path, serve, run_with_input):
    first, second = await serve(accept=respond), await serve(accept=respond)
    arguments = (*AB_TEST, "-d", f"@{path}", first.url, second.url)
    code, err = await run_with_input(b"hello", *arguments)
    assert code == 0, err
    # Before each run the program probes the server with a connection, without a request.
    assert first.bodies == second.bodies == {b"hello"}


@pytest.mark.parametrize("arguments", [("-F", "a=@-"), ("-d", "@-")])
async def test_a_form_can_use_standard_input_too(arguments, serve, run_with_input):
    server = await serve(accept=respond)
    code, err = await run_with_input(b"hello", "-n", "20", *arguments, server.url)
    assert code == 0, err
    assert len(server.bodies) == 1
    assert b"hello" in next(iter(server.bodies))


async def test_urls_can_be_read_from_standard_input(serve, run_with_input):
    server = await serve()
    code, err = await run_with_input(b"/a\n/b\n", "-n", "20", "--urls", "-", server.url)
    assert code == 0, err
    assert {request.split()[1] for request in server.requests} == {b"/a", b"/b"}


def data_of(path):
    (content,) = request_body.read_data(f"@{path}")[1].pieces
    return content


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"hello",))
    writer.start()
    try:
        assert [data_of(pipe) for _ in range(2)] == [b"hello"] * 2
    finally:
        writer.join()


def test_a_file_is_read_each_time(tmp_path):
    file = tmp_path / "file"
    for body in (b"one", b"other"):
        file.write_bytes(body)
        assert data_of(file) == body


def test_a_byte_order_mark_is_not_part_of_a_url(tmp_path):
    file = tmp_path / "urls"
    file.write_bytes("\ufeff/a\r\n/b\r\n".encode())
    assert [each.url for each in url_file.read_urls(file, "http://h/")] == [
        "http://h/a",
        "http://h/b",
    ]


def test_an_unreadable_file_is_named_in_one_line(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ParameterError, match=f"^--data: {path}: "):
            request_body.read_data(f"@{path}")


LOG = b"".join(
    b'::1 - - [10/Oct/2000:13:55:%02d +0000] "GET /%d HTTP/1.1" 200 1\n' % (n // 5, n)
    for n in range(20)
)


@pytest.mark.parametrize("path", ["-", slow("/dev/stdin")])
async def test_both_sides_get_the_requests_of_a_log_on_standard_input(path, serve, run_with_input):
    first, second = await serve(), await serve()
    arguments = ("ab-test", "--rounds", "3", "--replay", path, "--speed", "100", "-w", "2")
    code, err = await run_with_input(LOG, *arguments, first.url, second.url)
    assert code == 0, err
    paths = sorted(b"/%d" % n for n in range(20)) * 3
    for server in (first, second):
        assert sorted(request.split()[1] for request in server.requests) == sorted(paths)


async def test_both_sides_get_requests_for_urls_on_standard_input(serve, run_with_input):
    first, second = await serve(), await serve()
    arguments = (*AB_TEST, "--urls", "-", first.url, second.url)
    code, err = await run_with_input(b"/a\n3 /b\n", *arguments)
    assert code == 0, err
    for server in (first, second):
        assert {request.split()[1] for request in server.requests} == {b"/a", b"/b"}


def _urls(path):
    return list(url_file.read_urls(path, "http://h/"))


def _times(path):
    return log_replay.read_log(path).times_s()


@pytest.mark.parametrize(("read", "text"), [(_times, LOG), (_urls, b"/a\n/b\n")])
def test_a_stream_of_lines_is_read_once(tmp_path, read, text):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(text,))
    writer.start()
    try:
        first = read(pipe)
    finally:
        writer.join()
    assert len(first) == len(text.splitlines())
    assert read(pipe) == first


@pytest.mark.parametrize("arguments", [("-d", "@-"), ("-F", "a=@-"), ("--urls", "-")])
async def test_options_that_exclude_a_log_are_refused_before_anything_is_read(arguments, refused):
    ran = refused("--replay", "-", *arguments, "http://127.0.0.1:1/")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--replay" in ran.err
