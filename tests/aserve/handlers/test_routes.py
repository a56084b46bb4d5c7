"""Paths that a program answers itself."""

import socket
import urllib.request
from typing import Any

import pytest

import aserve
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, Request, Response
from aserve.server.site_factory import build_site
from tests.aserve.seams.serving import read_all
from tests.conformance.serving import address_of


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def handle(self, request: Request, context: RequestContext) -> Response:
        return Response(200, (), (f"{self.name} {request.method}".encode(),))


class Failing:
    """Fails as it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def handle(self, request: Request, context: RequestContext) -> Response:
        raise self.error


class Length:
    """Answers a body with its length."""

    max_size, may_wait, size = 100, False, 0

    def accept_body(self, request: Request, context: RequestContext) -> Any:
        return self

    def begin(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def respond(self) -> Response:
        return Response(200, (), (str(self.size).encode(),))

    def close(self) -> None:
        pass

    def handle(self, request: Request, context: RequestContext) -> Response:
        raise HttpError(411, "There is no body.")


def ask(site: Any, target: str, method: str = "GET") -> Response:
    return site.handle(Request(method, target), RequestContext(0))


def test_the_first_glob_that_matches_decides_and_all_else_is_the_sites(directory) -> None:
    handlers = {"/api/now": Named("now"), "/api/*": Named("api"), "/a.txt": Named("own")}
    site = build_site(aserve.Settings(directory, handlers=handlers), Mounts())
    bodies = {target: ask(site, target).body[0] for target in ("/api/now", "/api/%6Eow", "/api/x")}
    assert bodies == dict.fromkeys(("/api/now", "/api/%6Eow"), b"now GET") | {"/api/x": b"api GET"}
    assert ask(site, "/a.txt", "BREW").body == (b"own BREW",)
    assert ask(site, "/").body == (b"<h1>home</h1>",)
    assert ask(site, "/api").status == 404
    assert ask(site, "/api/%").status == 400
    assert ask(site, "*", "OPTIONS").status == 204


def test_a_handler_may_wait_so_no_event_loop_calls_it(directory) -> None:
    site = build_site(aserve.Settings(directory, handlers={"/now": Named("now")}), Mounts())
    with pytest.raises(BlockingIOError):
        site.handle(Request("GET", "/now"), RequestContext(0, may_wait=False))


def test_what_a_handler_raises_is_an_answer(directory) -> None:
    handlers = {"/gone": Failing(HttpError(410, "It was here.")), "/x": Failing(KeyError("x"))}
    site = build_site(aserve.Settings(directory, handlers=handlers), Mounts())
    assert ask(site, "/gone").status == 410
    assert ask(site, "/x").status == 500


class Fixed:
    """Returns what it is told to, also to a request with a body."""

    max_size, may_wait = 100, False

    def __init__(self, response: Any) -> None:
        self.response = response
        self.begin = self.close = lambda: None
        self.write = len

    def accept_body(self, request: Request, context: RequestContext) -> Any:
        return self

    def respond(self) -> Response:
        return self.handle(Request("GET", "/"), RequestContext(0))

    def handle(self, request: Request, context: RequestContext) -> Response:
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


def with_header(name: str, value: str) -> Response:
    return Response(200, ((name, value),), (b"body",))


BROKEN = {
    "cannot be sent": [
        with_header("Content-Length", "2"),
        with_header("transfer-encoding", "chunked"),
        with_header("Connection", "close"),
        with_header("Date", "now"),
    ],
    "no header may have": [
        with_header("X-Name", "a\r\nSet-Cookie: b"),
        with_header("X-Name", "a\x00"),
        with_header("X-Name", "\u20ac"),
        HttpError(302, "Elsewhere.", (("Location", "/a\r\nX: b"),)),
    ],
    "is not the name": [with_header("X Name", "a"), with_header("X:", "a")],
    "no status": [Response(100), Response(999)],
    "bytes, and not str": [Response(200, (), ("text",))],  # type: ignore[arg-type]
    "returns a Response": ["text", None],
}


@pytest.mark.parametrize(
    ("reason", "response"), [(reason, one) for reason, some in BROKEN.items() for one in some]
)
def test_what_would_break_the_protocol_is_an_error_of_the_program(
    directory, caplog, reason: str, response: Any
) -> None:
    site = build_site(aserve.Settings(directory, handlers={"/x": Fixed(response)}), Mounts())
    answer = ask(site, "/x")
    assert (answer.status, dict(answer.headers)["Content-Type"][:10]) == (500, "text/plain")
    assert reason in caplog.text
    assert site.accept_body
    sink = site.accept_body(Request("POST", "/x"), RequestContext(0))
    assert sink
    with pytest.raises((ValueError, TypeError), match=reason):
        sink.respond()


def test_a_handler_may_send_what_it_knows(directory) -> None:
    headers = (("Allow", "GET"), ("Content-Range", "bytes */3"), ("X-Name", "\xe9t\xe9"))
    handlers = {"/x": Fixed(HttpError(405, "No.", headers)), "/y": Fixed(Response(200, headers))}
    site = build_site(aserve.Settings(directory, handlers=handlers), Mounts())
    for target, status in (("/x", 405), ("/y", 200)):
        response = ask(site, target)
        assert response.status == status
        assert set(headers) <= set(response.headers)


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_a_handler_gets_bodies_if_it_takes_them(directory, model: str) -> None:

    handlers = {"/length": Length(), "/now": Named("now")}
    with aserve.Server(directory, model=model, handlers=handlers) as server:

        def post(path: str, size: int) -> bytes:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            with socket.create_connection(address_of(server), 20) as client:
                client.sendall(f"{head}Content-Length: {size}\r\n\r\n{'x' * size}".encode())
                return read_all(client)

        assert post("/length", 42).endswith(b"\r\n\r\n42")
        assert post("/length", 101).startswith(b"HTTP/1.1 413 ")
        assert post("/now", 3).endswith(b"\r\n\r\nnow POST")
        assert post("/a.txt", 3).startswith(b"HTTP/1.1 405 ")


def test_handlers_are_exchanged_by_a_reload(directory) -> None:

    with aserve.Server(directory, handlers={"/now": Named("old")}) as server:
        server.reload(handlers={"/now": Named("new")})
        with urllib.request.urlopen(f"{server.url}now") as response:
            assert response.read() == b"new GET"
