"""Attacks on logins over sockets, each with a cache that is cold and then warm.

One site has a closed folder, whose right login is asked for between the attacks, so that its
responses are cached while they are tried.
"""

import base64
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import bcrypt
import pytest

import aserve
from tests.aserve.access.test_passwords import BCRYPT
from tests.aserve.tls.issuing import client_context, issue

SECRET = b"SECRET"
ROUNDS = 4
"""How often all is asked: a response is cached when it was asked for before."""


def login(pair: str, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} {base64.b64encode(pair.encode()).decode()}"


BCRYPT_OF_OTHER = bcrypt.hashpw(b"other", bcrypt.gensalt(4)).decode()
RIGHT, WRONG = login("ann:a"), login("ann:x")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name in ("open.txt", "private/a.txt", "private/app.3f2a9c1b.js", "private/sub/index.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(SECRET if "private" in name else b"open")
        os.utime(folder / name, (1, 1))  # old enough to be cached
    return folder


def closed(*, dav: bool = True, **settings: object) -> dict[str, object]:
    paths = (aserve.PathSettings("/private/*", readers=("ann",), writers=("ann",)),)
    given = {"auth": ("ann:a", "ben:b"), "readers": ("anyone",), "paths": paths, "dav": dav}
    return {**given, "allow_trace": True, "write": ("/",), **settings}


def connect(server: aserve.Server) -> socket.socket:
    port = int(server.url.split(":")[2].strip("/"))
    return socket.create_connection(("127.0.0.1", port), 20)


def head(line: str, *lines: str) -> bytes:
    return "\r\n".join((line, *lines, "", "")).encode("latin-1")


def answers(client: socket.socket, *requests: bytes) -> bytes:
    """Send requests and the end of all, and return what comes until the connection ends."""
    client.sendall(b"".join(requests))
    if not isinstance(client, ssl.SSLSocket):
        client.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: client.recv(65_536), b""))


def ask(server: aserve.Server, *requests: bytes) -> bytes:
    with connect(server) as client:
        return answers(client, *requests)


def statuses(answer: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


A = "/private/a.txt"
HOST = "Host: x"
FORMS = [
    head(f"GET {A} HTTP/1.1", HOST),
    head(f"HEAD {A} HTTP/1.1", HOST),
    head(f"GET http://x{A} HTTP/1.1", HOST),
    head(f"GET http://ann:a@x{A} HTTP/1.1", HOST),
    head(f"GET HTTP://X{A}?#x HTTP/1.1", HOST),
    head(f"GET {A}?x HTTP/1.1", HOST),
    head(f"GET {A}; HTTP/1.1", HOST),
    head(f"GET {A}%00.txt HTTP/1.1", HOST),
    head(f"GET {A}/ HTTP/1.1", HOST),
    head(f"GET {A}/. HTTP/1.1", HOST),
    head(f"GET /open.txt/..{A} HTTP/1.1", HOST),
    head("GET \\private\\a.txt HTTP/1.1", HOST),
    head("GET /%5cprivate/a.txt HTTP/1.1", HOST),
    head(f"GET {A} HTTP/1.0"),
    f"GET {A}\r\n".encode(),
    head(f"GET {A} HTTP/1.1", HOST, "Range: bytes=0-2"),
    head(f"GET {A} HTTP/1.1", HOST, "Range: bytes=0-1,3-4"),
    head(f"GET {A} HTTP/1.1", HOST, "If-None-Match: *"),
    head(f"GET {A} HTTP/1.1", HOST, "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"),
    head(f"GET {A} HTTP/1.1", HOST, "If-Match: *"),
    head(f"TRACE {A} HTTP/1.1", HOST),
    head(f"OPTIONS {A} HTTP/1.1", HOST),
    head(f"PROPFIND {A} HTTP/1.1", HOST, "Depth: 0"),
    head(f"PROPFIND {A} HTTP/1.1", HOST, "Depth: 0", "Content-Length: 0"),
    head(f"DELETE {A} HTTP/1.1", HOST),
    head(f"MOVE {A} HTTP/1.1", HOST, "Destination: /stolen.txt"),
    head(f"MOVE {A} HTTP/1.1", HOST, "Destination: http://x/stolen.txt", "Overwrite: T"),
    head(f"COPY {A} HTTP/1.1", HOST, "Destination: /stolen.txt"),
    head(f"PUT {A} HTTP/1.1", HOST, "Content-Length: 3") + b"new",
    head(f"PATCH {A} HTTP/1.1", HOST, "Content-Length: 3") + b"new",
    head("POST /private/ HTTP/1.1", HOST, "Content-Length: 3") + b"new",
    *(
        head("GET /open.txt HTTP/1.1", HOST, f"{name}: {A}")
        for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Path", "X-Accel-Redirect")
    ),
    *(
        head(f"GET {A} HTTP/1.1", HOST, line)
        for line in (
            "X-HTTP-Method-Override: OPTIONS",
            "Access-Control-Request-Method: GET",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-User: ann",
            "X-Remote-User: ann",
            "Cookie: " + RIGHT,
            "Proxy-" + RIGHT,
            "X-" + RIGHT,
            RIGHT.replace(":", " :", 1),
            RIGHT.replace("Authorization", "Authorization\t"),
            "X: y\n" + RIGHT,
            "X: y\r" + RIGHT,
            "X: y\r\n " + RIGHT,
            login("ann:a", "Bearer"),
            login("ann:a", "Digest"),
            'Authorization: Digest username="ann", realm="aserve", nonce="", response=""',
            RIGHT + "=",
            RIGHT + ", x",
            RIGHT.replace("Basic ", "Basic"),
            login("ben:b"),
            WRONG,
            login("ann:a\0"),
            login("ann\0:a"),
            login(" ann:a"),
            login("ANN:a"),
            login("ann"),
            "Authorization:",
            "Authorization: Basic",
            "Authorization: Basic " + "A" * 12_000,
        )
    ),
    head(f"GET {A} HTTP/1.1", HOST, RIGHT, WRONG),
    head(f"GET {A} HTTP/1.1", HOST, WRONG, RIGHT),
    head(f"GET {A} HTTP/1.1", HOST, "Authorization:", RIGHT),
    head(f"GET {A} HTTP/1.1", HOST, "Transfer-Encoding: chunked")
    + f"0\r\n{RIGHT}\r\n\r\n".encode(),
]


def test_no_form_of_a_request_gets_past_a_rule(root: Path) -> None:
    """Neither reads nor changes anything, whatever the cache has for the right login."""
    with aserve.Server(root, **closed()) as server:
        for _ in range(ROUNDS):
            for request in FORMS:
                assert SECRET in ask(server, head(f"GET {A} HTTP/1.1", HOST, RIGHT))
                answer = ask(server, request)
                assert SECRET[:2] not in answer, request
                assert not {204, 206, 207, 304} & {*statuses(answer)}, request
    assert (root / "private/a.txt").read_bytes() == SECRET
    assert not (root / "stolen.txt").exists()


def test_nothing_is_read_or_changed_with_another_users_login(root: Path) -> None:
    with aserve.Server(root, **closed()) as server:
        for request in FORMS:
            if b"Authorization" not in request and request.count(b"\r\n") > 1:
                first, rest = request.split(b"\r\n", 1)
                answer = ask(server, first + b"\r\n" + login("ben:b").encode() + b"\r\n" + rest)
                assert SECRET[:2] not in answer, request
                assert not {201, 204, 206, 207, 304} & {*statuses(answer)}, request
    assert (root / "private/a.txt").read_bytes() == SECRET


def test_a_login_is_of_its_request_and_not_of_the_connection(root: Path) -> None:
    """Also if the next request is in the same bytes, or is known to the cache."""
    right, none = (head(f"GET {A} HTTP/1.1", HOST, *lines) for lines in ((RIGHT,), ()))
    wrong = head(f"GET {A} HTTP/1.1", HOST, WRONG)
    with aserve.Server(root, **closed()) as server:
        for _ in range(ROUNDS):
            answer = ask(server, right, none, right, wrong, none, right)
            assert statuses(answer) == [200, 401, 200, 401, 401, 200]
            assert answer.count(SECRET) == 3


def test_a_user_who_is_removed_gets_nothing_more(root: Path, tmp_path: Path) -> None:
    """Nor does a password that was changed, also on a connection that has used it, from a cache."""
    users = tmp_path / "users"
    users.write_text(f"ann:{BCRYPT}\nben:{BCRYPT}\n")
    request = head(f"GET {A} HTTP/1.1", HOST, login("ann:secret"))
    with aserve.Server(root, **closed(auth=(), htpasswd=str(users))) as server:
        with connect(server) as client:
            for _ in range(ROUNDS):
                client.sendall(request)
                assert statuses(client.recv(65_536)) == [200]
            users.write_text(f"ann:{BCRYPT_OF_OTHER}\nben:{BCRYPT}\n")
            server.reload()
            assert statuses(answers(client, request)) == [401]
        assert statuses(ask(server, request)) == [401]
        request = head(f"GET {A} HTTP/1.1", HOST, login("ann:other"))
        assert statuses(ask(server, request)) == [200]


def header(answer: bytes, name: str) -> list[bytes]:
    return re.findall(rf"^{name}: ([^\r]*)".encode(), answer, re.MULTILINE | re.IGNORECASE)


def test_no_shared_cache_may_store_what_a_login_gets(root: Path) -> None:
    """RFC 9111 section 3.5: it may by public, must-revalidate and s-maxage alone.

    Refusals are fresh in no cache, and have no tag by which one could find them unchanged.
    """
    targets = (A, "/private/app.3f2a9c1b.js", "/private/", "/private/sub/", "/private/none", "/")
    with aserve.Server(root, **closed(), listing="on") as server:
        for target in targets * ROUNDS:
            told = header(ask(server, head(f"GET {target} HTTP/1.1", HOST, RIGHT)), "Cache-Control")
            names = {one.split(b"=")[0].strip() for line in told for one in line.split(b",")}
            assert not names & {b"public", b"must-revalidate", b"s-maxage"}
            assert names & {b"no-cache", b"no-store", b"max-age"}
            for line in (WRONG, login("ben:b"), "X: none"):
                answer = ask(server, head(f"GET {target} HTTP/1.1", HOST, line))
                if target != "/" or line == WRONG:
                    assert statuses(answer)[0] in {401, 403, 429}
                    assert header(answer, "Cache-Control") in ([], [b"no-store"], [b"no-cache"])
                    assert header(answer, "ETag") == []


def test_a_login_in_a_url_is_refused_and_repeated_nowhere(root: Path) -> None:
    """RFC 9110 section 4.2.4: the password would be shown in pages and redirects."""
    with aserve.Server(root, **closed()) as server:
        for target in ("http://ann:topsecret@x/private", "http://topsecret@x/open.txt"):
            for method in ("GET", "HEAD", "TRACE", "OPTIONS", "PROPFIND", "PUT", "DELETE"):
                answer = ask(server, head(f"{method} {target} HTTP/1.1", HOST, RIGHT))
                assert statuses(answer) == [400]
                assert b"topsecret" not in answer
        answer = ask(server, head("GET /private HTTP/1.1", "Host: ann:topsecret@x", RIGHT))
        assert statuses(answer) == [400]
        assert b"topsecret" not in answer


def test_a_trace_echoes_no_login(root: Path) -> None:
    with aserve.Server(root, **closed()) as server:
        lines = (RIGHT, "Proxy-" + RIGHT, "Cookie: a=topsecret", "X-Token: topsecret")
        answer = ask(server, head(f"TRACE {A} HTTP/1.1", HOST, *lines))
    assert statuses(answer) == [200]
    assert f"TRACE {A} HTTP/1.1\r\nHost: x\r\n\r\n".encode() in answer
    assert RIGHT.split()[-1].encode() not in answer


def test_a_redirect_takes_no_login_along(root: Path) -> None:
    """To the same server, by a path alone, and so the client decides what it sends there."""
    with aserve.Server(root, **closed()) as server:
        answer = ask(server, head("GET /private HTTP/1.1", HOST, RIGHT))
    assert header(answer, "Location") == [b"/private/"]


def test_the_pages_of_folders_tell_no_other_site_where_they_are(root: Path) -> None:
    for write in (("/",), ()):
        with aserve.Server(root, **closed(write=write), listing="on") as server:
            answer = ask(server, head("GET /private/ HTTP/1.1", HOST, RIGHT))
        assert statuses(answer) == [200]
        assert header(answer, "Referrer-Policy") == [b"same-origin" if write else b"no-referrer"]


Start = Callable[..., aserve.Server]


@pytest.fixture
def start_tls(root: Path, tmp_path: Path) -> Iterator[Start]:
    """Start servers with TLS, and with two sites of which one has logins."""
    servers = []
    pairs = [issue(tmp_path, name, (name,)) for name in ("a.test", "b.test")]
    files = {"cert": tuple(one.cert for one in pairs), "key": tuple(one.key for one in pairs)}
    (tmp_path / "a").mkdir()
    (tmp_path / "a/open.txt").write_text("open")

    def start(**settings: object) -> aserve.Server:
        sites = (aserve.VirtualHost("a.test", tmp_path / "a", auth=(), readers=("anyone",)),)
        server = aserve.Server(root, auth=("ann:a",), sites=sites, **files, **settings)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def ask_by_tls(server: aserve.Server, name: str, *requests: bytes) -> bytes:
    context = client_context()
    with closing(context.wrap_socket(connect(server), server_hostname=name)) as client:
        return answers(client, *requests)


def test_the_name_of_the_handshake_opens_no_other_site(start_tls: Start) -> None:
    """The Host decides whose files and whose logins count, whatever certificate was shown."""
    server = start_tls()
    ends = "Connection: close"
    for _ in range(ROUNDS):
        for name in ("a.test", "b.test"):
            for lines, expected in (((), 401), ((WRONG,), 401), ((RIGHT,), 200)):
                request = head(f"GET {A} HTTP/1.1", "Host: b.test", *lines, ends)
                assert statuses(ask_by_tls(server, name, request)) == [expected]
                request = head(f"GET {A} HTTP/1.1", "Host: a.test", *lines, ends)
                assert statuses(ask_by_tls(server, name, request)) == [404]


def test_what_came_before_a_handshake_is_no_part_of_what_comes_after(start_tls: Start) -> None:
    """Whoever puts bytes in front of a connection does not have its login sent with them."""
    server = start_tls()
    begun = f"GET {A} HTTP/1.1\r\nHost: b.test\r\nX: ".encode()
    for before in (begun, head("GET /open.txt HTTP/1.1", "Host: b.test"), b"\r\n", b"\0"):
        client = connect(server)
        client.sendall(before)
        with closing(client), pytest.raises((ssl.SSLError, OSError)):
            client_context().wrap_socket(client, server_hostname="b.test")


def test_requests_behind_one_by_http_get_no_file(start_tls: Start) -> None:
    server = start_tls()
    for _ in range(ROUNDS):
        one = head(f"GET {A} HTTP/1.1", "Host: b.test", RIGHT)
        ending = head(f"GET {A} HTTP/1.1", "Host: b.test", RIGHT, "Connection: close")
        assert SECRET in ask_by_tls(server, "b.test", ending)
        answer = ask(
            server, one, one, head(f"GET https://b.test{A} HTTP/1.1", "Host: b.test", RIGHT)
        )
        assert {*statuses(answer)} <= {308, 400}
        assert SECRET not in answer


def test_guesses_by_http_are_not_checked_where_there_is_tls(start_tls: Start) -> None:
    """They learn nothing, and so they keep nobody out."""
    server = start_tls()
    for number in range(30):
        request = head(f"GET {A} HTTP/1.1", "Host: b.test", login(f"ann:{number}"))
        assert statuses(ask(server, request)) == [308]
    request = head(f"GET {A} HTTP/1.1", "Host: b.test", RIGHT, "Connection: close")
    assert statuses(ask_by_tls(server, "b.test", request)) == [200]
