"""What the rows cannot say: bodies that end early, several directories, uploaded pages."""

import queue
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import aserve
from tests.aserve.writing.exchange import TIMEOUT, exchange, get
from tests.aserve.writing.rows import sha
from tests.conformance.reader import Response
from tests.conformance.serving import address_of

WRITABLE = {"write": ("/",), "min_free": 0}


def send(
    server: aserve.Server, method: str, target: str, body: bytes = b"", *lines: str
) -> Response:
    head = "\r\n".join(
        (f"{method} {target} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *lines)
    )
    response = exchange(address_of(server), f"{head}\r\n\r\n".encode() + body, method)
    assert response
    return response


def connect(server: aserve.Server) -> socket.socket:
    return socket.create_connection(address_of(server), TIMEOUT)


def names_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.mark.parametrize("framing", ["Content-Length: 50", "Transfer-Encoding: chunked"])
def test_a_client_that_goes_away_leaves_the_old_file(tmp_path: Path, framing: str) -> None:
    (tmp_path / "a.txt").write_text("old")
    head = f"PUT /a.txt HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
    # Nothing says when the server has seen the end of the connection; its stop waits for it.
    with aserve.Server(tmp_path, **WRITABLE) as server, connect(server) as client:
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # the temporary file is open
        client.sendall(b"5\r\nhello\r\n")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names_in(tmp_path) == {"a.txt"}


def test_a_body_is_no_longer_than_announced(tmp_path: Path) -> None:
    """What follows it is the next request."""
    data = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello world\r\n\r\n"
    with aserve.Server(tmp_path, **WRITABLE) as server, connect(server) as client:
        client.sendall(data)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 201 ")
    assert b"HTTP/1.1 400 Bad Request\r\n" in received
    assert (tmp_path / "a").read_bytes() == b"hello"


def test_large_bodies_are_stored_as_they_are_sent(tmp_path: Path) -> None:
    body = bytes(range(256)) * 40_000  # 10 MB
    with aserve.Server(tmp_path, **WRITABLE) as server:
        assert send(server, "PUT", "/a", body).status == 201
        assert get(address_of(server), "/a").body == body
    assert (tmp_path / "a").read_bytes() == body


def test_the_tag_of_an_answer_is_that_of_the_file_until_it_changes(tmp_path: Path) -> None:
    with aserve.Server(tmp_path, **WRITABLE) as server:
        tag = send(server, "PUT", "/a", b"one").get("etag")
        assert tag
        assert get(address_of(server), "/a").get("etag") == tag
        second = send(server, "PUT", "/a", b"two", f"If-Match: {tag}")
        assert second.status == 204
        assert get(address_of(server), "/a").get("etag") == second.get("etag") != tag
        assert send(server, "PUT", "/a", b"three", f"If-Match: {tag}").status == 412
        assert get(address_of(server), "/a").body == b"two"


@pytest.mark.parametrize(
    ("condition", "replace"),
    [
        ("If-None-Match: *", lambda path: path.write_bytes(b"other")),
        ("If-Match: <tag>", lambda path: path.write_bytes(b"other")),
        ("If-Match: *", Path.unlink),
    ],
)
def test_conditions_hold_for_what_is_there_when_the_body_is_complete(
    tmp_path: Path, condition: str, replace: Callable[[Path], object]
) -> None:
    path = tmp_path / "a"
    with aserve.Server(tmp_path, **WRITABLE) as server, connect(server) as client:
        if "None" not in condition:
            tag = send(server, "PUT", "/a", b"old").get("etag") or ""
            condition = condition.replace("<tag>", tag)
        lines = f"Host: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n{condition}\r\n"
        client.sendall(f"PUT /a HTTP/1.1\r\n{lines}\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")  # they hold by now
        replace(path)
        client.sendall(b"hello")
        assert client.recv(1_000).startswith(b"HTTP/1.1 412 ")
    assert names_in(tmp_path) == ({"a"} if path.exists() else set())
    assert not path.exists() or path.read_bytes() == b"other"


@pytest.fixture
def roots(tmp_path: Path) -> dict[str, Path]:
    roots = {"": tmp_path / "www", "docs": tmp_path / "docs", "x/y": tmp_path / "deep"}
    for root in roots.values():
        root.mkdir()
    (tmp_path / "film.mkv").write_bytes(b"film")
    return {**roots, "film.mkv": tmp_path / "film.mkv"}


@pytest.mark.parametrize(
    ("request_line", "status", "written"),
    [
        ("PUT /a", 201, "www/a"),
        ("PUT /docs/a", 201, "docs/a"),
        ("PUT /x/y/a", 201, "deep/a"),
        ("PUT /x/a?mkdir=1", 409, None),  # /x is the way to another directory
        ("PUT /x", 405, None),
        ("MKCOL /x", 405, None),
        ("PUT /docs", 405, None),
        ("DELETE /docs", 405, None),
        ("DELETE /docs/", 405, None),
        ("PUT /film.mkv", 405, None),
        ("DELETE /film.mkv", 405, None),
        ("PUT /film.mkv/a", 405, None),
        ("MKCOL /docs/new", 201, "docs/new"),
    ],
)
def test_a_path_is_written_in_the_directory_that_it_is_read_from(
    roots: dict[str, Path], tmp_path: Path, request_line: str, status: int, written: str
) -> None:
    before = names_in(tmp_path)
    with aserve.Server(roots, **WRITABLE) as server:
        response = send(server, *request_line.split(" "))
        assert response.status == status
        assert response.status != 405 or "PUT" not in (response.get("allow") or "PUT")
    assert names_in(tmp_path) - before == ({written} if written else set())


SANDBOXED = [
    *("page.html", "page.htm", "a.svg", "a.xml", "a.xhtml", "a.rss", "a.atom", "a.xsl"),
    "folder/",  # its index
]
PLAIN = ["a.txt", "a.png", "a.js", "a.unknown", "noname", "a.pdf", "a.json"]
HTML = b"<script>alert(1)</script>"


def test_uploaded_pages_have_a_sandbox_cold_and_warm(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "page.html").write_bytes(HTML)
    with aserve.Server(tmp_path, write=("/in",), min_free=0) as server:
        for name in (*SANDBOXED, *PLAIN):
            target = f"/in/{name.replace('folder/', 'folder/index.html')}?mkdir=1"
            assert send(server, "PUT", target, HTML).status == 201
        for name in (*SANDBOXED, *PLAIN):
            for lines in ((), (), (), ("Range: bytes=0-3",)):
                found = get(address_of(server), f"/in/{name}", *lines)
                assert found.status == (206 if lines else 200)
                assert found.get("x-content-type-options") == "nosniff", name
                policy = found.get("content-security-policy")
                assert (policy == "sandbox") is (name in SANDBOXED), (name, policy)
        outside = get(address_of(server), "/page.html")
        assert outside.get("content-security-policy") is None
        assert outside.get("x-content-type-options") is None


def test_an_uploaded_error_page_has_a_sandbox_and_a_listing_has_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with aserve.Server(tmp_path, write=("/in",), min_free=0) as server:
        send(server, "PUT", "/in/404.html", HTML)
        missing = get(address_of(server), "/in/missing", "Accept: text/html")
        assert (missing.status, missing.body) == (404, HTML)
        assert missing.get("content-security-policy") == "sandbox"
        listing = get(address_of(server), "/in/", "Accept: text/html")
        assert listing.status == 200
        policy = listing.get("content-security-policy") or ""
        assert "script-src" in policy
        # What a browser has stored of it gets the headers of a 304 (RFC 9111 section 3.2).
        known = f"If-None-Match: {listing.get('etag')}"
        same = get(address_of(server), "/in/", "Accept: text/html", known)
        assert (same.status, same.get("content-security-policy")) == (304, policy)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_digest_of_a_file_is_told_to_clients_that_want_it(tmp_path: Path, method: str) -> None:
    digests = {name: sha(name, HTML) for name in ("sha-256", "sha-512")}
    wishes = {
        "sha-256=1": digests["sha-256"],
        "sha-512=3, sha-256=10, md5=2": digests["sha-256"],
        "sha-256=0,sha-512=1": digests["sha-512"],
        "md5=10": None,
        "sha-256": None,
        "sha-256=0": None,
    }
    (tmp_path / "a.html").write_bytes(HTML)
    with aserve.Server(tmp_path, **WRITABLE) as server:
        for wish, expected in wishes.items():
            for lines in ((), ("Range: bytes=0-3",)):
                response = send(server, method, "/a.html", b"", f"Want-Repr-Digest: {wish}", *lines)
                assert response.get("repr-digest") == expected
                assert response.status == (206 if lines and method == "GET" else 200)
        assert send(server, "PUT", "/a.html", b"new").status == 204
        for _ in range(4):  # cold and warm
            response = get(address_of(server), "/a.html", "Want-Repr-Digest: sha-256=1")
            assert response.get("repr-digest") == sha("sha-256", b"new")
            assert get(address_of(server), "/a.html").get("repr-digest") is None
        assert send(server, method, "/", b"", "Want-Repr-Digest: sha-256=1").status == 200


def test_the_access_log_tells_status_and_received_bytes(tmp_path: Path) -> None:
    lines: queue.Queue[str] = queue.Queue()
    with aserve.Server(tmp_path, access_log=lines.put, **WRITABLE) as server:
        send(server, "PUT", "/a", b"hello")
        assert lines.get(timeout=TIMEOUT).endswith('"PUT /a HTTP/1.1" 201 0 "-" "-" "received 5"')
        get(address_of(server), "/a")
        assert lines.get(timeout=TIMEOUT).endswith('"GET /a HTTP/1.1" 200 5 "-" "-"')


def test_without_write_nothing_of_it_is_there(tmp_path: Path) -> None:
    with aserve.Server(tmp_path, rules="off", compress="off") as server:
        site = server._running._worker._current._server._site
        assert site.accept_body is None
        assert not site._finishers
        assert "MKCOL" not in site._handler._methods
