"""webbench's options work as its manual says, and its lines of result are the same."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from abench.cli.webbench import _describe_run, _parser, plan_from_arguments
from abench.errors import AbenchError, ParameterError
from abench.plan.plan import Plan
from abench.runner import forked_clients

URL = "http://127.0.0.1:8000/"
RESULT = re.compile(
    r"Speed=(\d+) pages/min, (\d+) bytes/sec\.\nRequests: (\d+) susceed, (\d+) failed\.\n"
)


def request(*options: str) -> bytes:
    return next(plan_from_arguments(_parser().parse_args([*options, URL])).workload())[0]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ((), b"GET / HTTP/1.0"),
        (("-1",), b"GET / HTTP/1.0"),
        (("--http10",), b"GET / HTTP/1.0"),
        (("-2",), b"GET / HTTP/1.1"),
        (("-9",), b"GET /"),
        (("--get",), b"GET / HTTP/1.0"),
        (("--head",), b"HEAD / HTTP/1.0"),
        (("--head", "-9"), b"HEAD / HTTP/1.0"),
        (("--options",), b"OPTIONS / HTTP/1.1"),
        (("--trace", "-1"), b"TRACE / HTTP/1.1"),
        (("-p", "proxy"), b"GET http://127.0.0.1:8000/ HTTP/1.0"),
    ],
)
def test_request_line(options: tuple[str, ...], line: bytes) -> None:
    assert request(*options).split(b"\r\n")[0] == line


def test_reload_sends_pragma() -> None:
    assert b"\r\nPragma: no-cache\r\n" in request("-r")
    assert b"\r\nPragma: no-cache\r\n" in request("--reload", "-2")


def test_defaults_are_those_of_webbench() -> None:
    plan = plan_from_arguments(_parser().parse_args([URL]))
    assert (plan.duration_s, plan.connections) == (30, 1)
    assert not plan.keep_alive
    assert plan.wait


def test_options_set_the_plan() -> None:
    words = ["-f", "-t", "3", "--clients", "7", "--proxy", "p:3128", URL]
    plan = plan_from_arguments(_parser().parse_args(words))
    assert (plan.duration_s, plan.connections, plan.wait) == (3, 7, False)
    assert plan.route.endpoint(plan.target) == ("p", 3128)
    assert plan_from_arguments(_parser().parse_args(["-p", "p", URL])).route.proxy == "p:80"


@pytest.mark.parametrize("words", [[], ["-t", "x", URL], ["--nothing", URL], [URL, URL]])
def test_bad_parameter_is_refused(words: list[str]) -> None:
    with pytest.raises(ParameterError):
        _parser().parse_args(words)


async def test_successes_and_failures_are_counted_separately(serve, abench):
    def script(peer):
        code = b"200 OK" if len(server.requests) % 4 else b"404 Not Found"
        peer.send(b"HTTP/1.0 %s\r\n\r\nhello" % code)
        peer.close()

    server = await serve(script)
    ran = await abench("--webbench", "-t", "1", "-c", "3", server.url)
    found = RESULT.fullmatch(ran.out)
    assert found
    speed, _, succeeded, failed = map(int, found.groups())
    assert (ran.code, ran.err) == (0 if succeeded else 1, "")
    # The last requests may be unfinished or uncounted: three clients, and their workers' halves.
    received = len(server.requests)
    assert received - 7 <= succeeded + failed + 1 <= received + 1
    assert succeeded == pytest.approx(received * 3 / 4, abs=7)
    # It lasts a second or longer; its timer may be due a millisecond early.
    assert speed <= 61 * succeeded


@pytest.mark.parametrize(
    ("words", "code"),
    [(("-V",), 0), (("-?",), 0), (("-h",), 0), (("--help",), 0), ((), 2), (("-t0", URL), 2)],
)
async def test_exit_code_is_as_documented(words, code, abench):
    ran = await abench("--webbench", *words)
    assert ran.code == code
    assert bool(ran.out) == (code == 0)
    assert ran.err.count("\n") == (code != 0)


async def test_unreachable_server_exits_with_1(abench, closed_port):
    ran = await abench("--webbench", "-t", "1", f"http://127.0.0.1:{closed_port}/")
    assert ran.code == 1
    assert ran.err.startswith(f"abench: error: cannot reach 127.0.0.1:{closed_port}: ")


# By the book: as webbench counts and prints.

ON_STDOUT = re.compile(r"\nBenchmarking: (.*)\n(.*)\n\n" + RESULT.pattern)


async def test_by_the_book_counts_all_that_is_read_to_its_end(serve, abench):
    def script(peer):
        code = b"200 OK" if len(server.requests) % 2 else b"404 Not Found"
        peer.send(b"HTTP/1.0 %s\r\n\r\nhello" % code)
        peer.close()

    server = await serve(script)
    ran = await abench("--webbench", "--by-the-book", "-t", "1", "-c", "3", server.url)
    found = ON_STDOUT.fullmatch(ran.out)
    assert found, ran.out
    assert found[1] == f"GET {server.url}"
    assert found[2] == "3 clients, running 1 sec."
    succeeded, failed = int(found[5]), int(found[6])
    received = len(server.requests)
    # Of each client, the request that the alarm interrupts is not counted.
    assert received - 3 <= succeeded + failed <= received
    assert ran.code == (0 if succeeded else 1)
    assert re.fullmatch(r"Webbench - Simple Web Benchmark 1\.5, by abench .*\n", ran.err)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], ["Benchmarking: GET {url}", "1 client, running 30 sec."]),
        (
            ["-c", "2", "-t", "5", "-2", "-r", "-f", "--head"],
            [
                "Benchmarking: HEAD {url} (using HTTP/1.1)",
                "2 clients, running 5 sec, early socket close, forcing reload.",
            ],
        ),
        (
            ["-9", "-p", "p:3128"],
            [
                "Benchmarking: GET {url} (using HTTP/0.9)",
                "1 client, running 30 sec, via proxy server p:3128.",
            ],
        ),
    ],
)
def test_by_the_book_says_what_it_does_as_webbench_does(options, lines):
    arguments = _parser().parse_args([*options, URL])
    described = _describe_run(plan_from_arguments(arguments), arguments)
    assert described == "\n".join(lines).format(url=URL)


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def is_running(pid):
    return Path(f"/proc/{pid}").exists()


async def test_each_client_is_a_child_and_a_signal_ends_all_of_them(serve, start_abench):
    connected = asyncio.Semaphore(0)
    server = await serve(lambda _peer: None, accept=lambda _peer: connected.release())
    words = ("--webbench", "--by-the-book", "-t", "3600", "-c", "3", server.url)
    process = await start_abench(*words)
    for _ in range(1 + 3):  # the first one sees whether the server is there
        await connected.acquire()
    children = children_of(process.pid)
    assert len(children) == 3
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert out.endswith(b"Requests: 0 susceed, 0 failed.\n")
    assert b"died" not in err
    assert not [pid for pid in children if is_running(pid)]


@pytest.mark.parametrize(
    ("words", "option"),
    [(("-c", "1025", URL), "--clients"), (("https://127.0.0.1:8000/",), "--by-the-book")],
)
def test_by_the_book_refuses_what_it_cannot_do(words, option, refused):
    ran = refused("--webbench", "--by-the-book", *words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"abench: error: {option}: ")
    assert ran.err.count("\n") == 1


def test_children_without_a_line_are_counted_as_lost():
    counts = forked_clients.Counts()
    forked_clients._add_up(["3 1 400", "2 0 250"], counts, 3)
    assert counts == forked_clients.Counts(5, 1, 650, lost=1)


def test_a_fork_that_fails_is_an_internal_error_in_one_line(monkeypatch):
    def fail():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(forked_clients.os, "fork", fail)
    monkeypatch.setattr(forked_clients.preflight, "resolve", lambda plan: plan)
    with pytest.raises(AbenchError, match=r"^cannot fork client 1: Resource temporarily") as caught:
        forked_clients.run(Plan(url=URL))
    assert caught.value.exit_code == 3
