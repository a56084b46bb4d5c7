"""webbench's options work as its manual says, and its lines of result are the same."""

import re

import pytest

from abench.cli.webbench import _parser, plan_from_arguments
from abench.errors import ParameterError

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
    assert speed <= 60 * succeeded  # it lasts a second, or a little longer


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
