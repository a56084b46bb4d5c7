"""URLs, apps, error pages, hosts, paths, rules, headers and own handlers, in every I/O model."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import aserve
from aserve.handlers.handler import RequestContext
from aserve.http.messages import Request, Response
from aserve.transport.registry import DEFAULT, MODELS
from tests.conformance.serving import address_of
from tests.marks import slow_except

TIMEOUT = 20.0
NAMES = [
    name
    for name, info in MODELS.items()
    if not (info.unavailable_reason() or info.needs_processes)  # whose site is the same
]
ORIGIN = "Origin: https://app.test\r\n"
PREFLIGHT = f"{ORIGIN}Access-Control-Request-Method: GET\r\n"
NAVIGATION = "Sec-Fetch-Mode: navigate\r\n"
JSON = "Accept: application/json\r\n"
TRIES = 4
"""How often each request is made, so that the last responses may come from the cache."""


class Echo:
    """A program's own handler."""

    def handle(self, request: Request, context: RequestContext) -> Response:
        body = f"{request.method} {request.target}".encode()
        return Response(200, (("Content-Type", "text/plain"),), (body,))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    pages = ("home.html", "page.html", "folder/index.html", "app.html", "404.html", "50x.html")
    for name in (*pages, "raw/page.html", "site/page.html", "assets/app-BRBmoGS9.js"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"this is {name}")
        os.utime(root / name, (1, 1))  # old enough to be cached
    write_rules(root, REDIRECTS, HEADERS)
    return root


REDIRECTS = """
/moved/*    /to/:splat         302
/rewritten  /page              200
/left       /folder/           410
/page.html  /forced            308!
"""

HEADERS = """
/rewritten
  X-Written: rewritten
  Cache-Control: max-age=60
/rewritten.js
  X-Written: missing
"""


def write_rules(root: Path, redirects: str, headers: str) -> None:
    for name, text in (("_redirects", redirects), ("_headers", headers)):
        (root / name).write_text(text)
        os.utime(root / name, (1, 1))  # or nothing would be cached for a moment


@pytest.fixture(scope="module", params=slow_except(NAMES, DEFAULT, "epoll"))
def server(request: pytest.FixtureRequest, root: Path) -> Iterator[aserve.Server]:
    with aserve.Server(
        root,
        model=request.param,
        index=("index.html", "home.html"),
        urls="cloudflare",
        spa="app.html",
        error_page=("4xx=folder/index.html", "5xx=50x.html"),
        decode_slashes=True,
        sites=(aserve.VirtualHost(["site.test", "*.test.example"], root / "site"),),
        paths=(aserve.PathSettings("/raw/*", urls="plain"),),
        allowed_hosts=("a", "any.test"),
        headers=("/pa* X-Rule: pages", "/* X-Rule:", "/page Cache-Control: max-age=9", "/* X-A: b"),
        cors=("https://app.test",),
        isolate=True,
        handlers={"/echo/*": Echo()},
    ) as server:
        yield server


def receive(client: socket.socket) -> bytes:
    data = client.recv(1 << 16)
    assert data, "the server has closed the connection"
    return data


def ask(client: socket.socket, request: str) -> bytes:
    """Return the response, its date left out; the connection stays open."""
    client.sendall(request.encode("latin-1"))
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(client)
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    has_body = length and not request.startswith("HEAD ") and b" 304 " not in head[:20]
    while has_body and len(body) < int(length[1]):
        body += receive(client)
    return re.sub(rb"\r\nDate: [^\r]*", b"", head) + b"\r\n\r\n" + body


# A request without its Host, what the status line and the headers contain, and the body.
ROWS = [
    ("GET / HTTP/1.1\r\n", "200 OK", "this is home.html"),
    ("GET /page HTTP/1.1\r\n", "200 OK", "this is page.html"),
    ("GET /page HTTP/1.0\r\nConnection: keep-alive\r\n", "200 OK", "this is page.html"),
    ("GET http://any.test/page HTTP/1.1\r\n", "200 OK", "this is page.html"),
    ("GET /folder%2Fx HTTP/1.1\r\n", "404 Not Found", "this is 404.html"),
    ("GET /page/?a HTTP/1.1\r\n", "Location: /page?a\r\n", None),
    ("GET http://any.test/home.html?a HTTP/1.1\r\n", "307 Temp", None),
    ("GET /folder HTTP/1.0\r\nConnection: keep-alive\r\n", "Location: /folder/\r\n", None),
    ("GET /folder%2Findex.html HTTP/1.1\r\n", "Location: /folder/\r\n", None),
    (f"GET /route HTTP/1.1\r\n{NAVIGATION}", "200 OK", "this is app.html"),
    (f"GET /route HTTP/1.0\r\nConnection: keep-alive\r\n{NAVIGATION}", "200", "this is app.html"),
    (f"HEAD /route HTTP/1.1\r\n{NAVIGATION}", "Content-Length: 16\r\n", ""),
    (f"GET http://any.test/a/b/c HTTP/1.1\r\n{NAVIGATION}", "200 OK", "this is app.html"),
    (f"GET /route HTTP/1.1\r\n{NAVIGATION}Range: bytes=8-\r\n", "206 Part", "app.html"),
    ("GET /route.js HTTP/1.1\r\nSec-Fetch-Mode: no-cors\r\n", "404 Not F", "this is 404.html"),
    ("GET /none HTTP/1.0\r\nConnection: keep-alive\r\n", "404 Not F", "this is 404.html"),
    ("HEAD /none HTTP/1.1\r\n", "Content-Length: 16\r\n", ""),
    ("GET /none HTTP/1.1\r\nRange: bytes=0-1\r\n", "404 Not F", "this is 404.html"),
    ("GET /moved/a/b?c HTTP/1.1\r\n", "Location: /to/a/b?c\r\n", None),
    ("HEAD /moved HTTP/1.1\r\n", "Location: /to/\r\n", ""),
    ("GET /moved HTTP/1.0\r\nConnection: keep-alive\r\n", "302 Found", None),
    ("GET http://any.test/page.html HTTP/1.1\r\n", "Location: /forced\r\n", None),
    ("GET /rewritten HTTP/1.1\r\n", "Cache-Control: max-age=60\r\n", "this is page.html"),
    ("GET /rewritten HTTP/1.0\r\nConnection: keep-alive\r\n", "200", "this is page.html"),
    ("HEAD /rewritten HTTP/1.1\r\n", "X-Written: rewritten\r\n", ""),
    ("GET /rewritten HTTP/1.1\r\nIf-None-Match: *\r\n", "304 Not M", ""),
    ("GET /rewritten HTTP/1.1\r\nRange: bytes=8-\r\n", "206 Part", "page.html"),
    ('GET /rewritten HTTP/1.1\r\nIf-Match: "x"\r\n', "412 Pre", "this is folder/index.html"),
    ("GET /rewritten.js HTTP/1.1\r\n", "X-Written: missing\r\n", "this is 404.html"),
    ("GET /left HTTP/1.1\r\n", "410 Gone", "this is folder/index.html"),
    ("HEAD /left HTTP/1.1\r\n", "410 Gone", ""),
    ("GET /_redirects HTTP/1.1\r\n", "404 Not F", "this is 404.html"),
    ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", "405 Meth", "this is folder/index.html"),
    ("BREW / HTTP/1.1\r\n", "501 Not I", "this is 50x.html"),
    (f"GET /none HTTP/1.1\r\n{JSON}", "application/problem+json", None),
    # The host of the URL decides, and not that of the header.
    ("GET http://site.test/page HTTP/1.1\r\n", "200 OK", "this is site/page.html"),
    ("GET http://a.b.Test.Example.:8/page HTTP/1.1\r\n", "200 OK", "this is site/page.html"),
    ("HEAD http://site.test/page HTTP/1.1\r\n", "Content-Length: 22\r\n", ""),
    ("GET http://site.test/page HTTP/1.1\r\nRange: bytes=8-\r\n", "206 P", "site/page.html"),
    ("GET http://site.test/page HTTP/1.0\r\nConnection: keep-alive\r\n", "200 OK", None),
    ("GET http://site.test/page.html HTTP/1.1\r\n", "Location: /page\r\n", None),
    (f"GET http://site.test/route HTTP/1.1\r\n{NAVIGATION}", "404 Not F", None),
    ("GET http://evil.test/page HTTP/1.1\r\n", "421 Misdirected", None),
    ("HEAD http://evil.test/page HTTP/1.1\r\n", "421 Misdirected", ""),
    ("GET http://127.0.0.1:8/page HTTP/1.1\r\n", "200 OK", "this is page.html"),
    ("GET /raw/page.html HTTP/1.1\r\n", "200 OK", "this is raw/page.html"),
    ("GET /%72aw%2Fpage.html?a HTTP/1.0\r\nConnection: keep-alive\r\n", "200 OK", None),
    ("GET /raw/page HTTP/1.1\r\nSec-Fetch-Mode: no-cors\r\n", "404 Not F", None),
    ("GET /page HTTP/1.1\r\n", "Cache-Control: max-age=9\r\n", "this is page.html"),
    ("HEAD /page HTTP/1.1\r\n", "Cache-Control: max-age=9\r\n", ""),
    ("GET /page HTTP/1.0\r\nConnection: keep-alive\r\n", "Cache-Control: max-age=9\r\n", None),
    ("GET /page HTTP/1.1\r\nIf-None-Match: *\r\n", "304 Not Mod", ""),
    ("GET /page HTTP/1.1\r\nIf-None-Match: *\r\n", "Cache-Control: max-age=9\r\n", ""),
    ("GET /page HTTP/1.1\r\nRange: bytes=0-3\r\n", "Cache-Control: max-age=9\r\n", "this"),
    ("GET /page HTTP/1.1\r\nRange: bytes=99-\r\n", "X-A: b\r\n", None),
    ("GET /pages HTTP/1.1\r\n", "Cache-Control: no-cache\r\n", "this is 404.html"),
    ("GET /none HTTP/1.1\r\n", "X-A: b\r\n", "this is 404.html"),
    ("GET /page/ HTTP/1.1\r\n", "X-A: b\r\n", None),
    ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", "X-A: b\r\n", None),
    ("GET /assets/app-BRBmoGS9.js HTTP/1.1\r\n", "max-age=31536000, immutable\r\n", None),
    ("GET /assets/x-BRBmoGS9.js HTTP/1.1\r\n", "Cache-Control: no-cache\r\n", "this is 404.html"),
    ("GET /page HTTP/1.1\r\n", "Vary: Origin\r\n", "this is page.html"),
    (f"GET /page HTTP/1.1\r\n{ORIGIN}", "Access-Control-Allow-Origin: https://app.test\r\n", None),
    (f"GET /none HTTP/1.1\r\n{ORIGIN}", "Access-Control-Allow-Origin: https://app.test\r\n", None),
    (f"OPTIONS /page HTTP/1.1\r\n{PREFLIGHT}", "Allow-Methods: GET, HEAD, OPTIONS\r\n", ""),
    ("GET /none HTTP/1.1\r\n", "Cross-Origin-Embedder-Policy: require-corp\r\n", None),
    ("GET /echo/a?b HTTP/1.1\r\n", "200 OK", "GET /echo/a?b"),
    ("HEAD /echo/a HTTP/1.1\r\n", "Content-Length: 12\r\n", ""),
    ("GET /echo/a HTTP/1.0\r\nConnection: keep-alive\r\n", "X-A: b\r\n", "GET /echo/a"),
]


@pytest.mark.parametrize(("request_lines", "expected", "body"), ROWS)
def test_every_model_answers_alike_cold_and_warm(
    server: aserve.Server, request_lines: str, expected: str, body: str | None
) -> None:
    with closing(socket.create_connection(address_of(server), TIMEOUT)) as client:
        responses = {ask(client, f"{request_lines}Host: a\r\n\r\n") for _ in range(TRIES)}
    (response,) = responses
    head, _, received = response.partition(b"\r\n\r\n")
    assert expected.encode() in head + b"\r\n"
    assert b"X-Rule" not in head
    if body is not None:
        assert received == body.encode()


def test_an_invalid_request_gets_the_page_of_its_status(server: aserve.Server) -> None:
    with closing(socket.create_connection(address_of(server), TIMEOUT)) as client:
        response = ask(client, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 400 ")
    # Or the small page, if this one would have to be waited for.
    assert response.endswith((b"this is folder/index.html", b"\n"))


def test_a_page_that_appears_is_sent_next(root: Path, server: aserve.Server) -> None:
    exact = root / "page"
    request = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
    with closing(socket.create_connection(address_of(server), TIMEOUT)) as client:
        for _ in range(3):
            for _ in range(TRIES):
                assert ask(client, request).endswith(b"this is page.html")
            exact.write_text("exactly")
            assert ask(client, request).endswith(b"exactly")
            exact.unlink()
            assert ask(client, request).endswith(b"this is page.html")


def test_rules_that_change_count_for_the_next_request(root: Path, server: aserve.Server) -> None:
    moved, sent = (
        f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n" for target in ("/moved/x", "/rewritten")
    )
    try:
        with closing(socket.create_connection(address_of(server), TIMEOUT)) as client:
            for text in ("one", "other", "another"):  # of other sizes: some models only see those
                for _ in range(TRIES):
                    ask(client, moved)
                    ask(client, sent)
                write_rules(root, f"/* /{text} 302", f"/*\n X-Written: {text}")
                assert f"\r\nLocation: /{text}\r\n".encode() in ask(client, moved)
                write_rules(root, REDIRECTS, f"/*\n X-Written: {text}")
                assert f"\r\nX-Written: {text}\r\n".encode() in ask(client, sent)
                assert b"\r\nLocation: /to/x\r\n" in ask(client, moved)
    finally:
        write_rules(root, REDIRECTS, HEADERS)
