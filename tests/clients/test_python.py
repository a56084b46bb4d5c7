"""The clients that come with Python, and urllib3, which is below most of the others."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
import urllib3

from tests.clients.conftest import LARGE, TEXT
from tests.clients.running import PATIENCE, Running


@pytest.fixture
def connection(server: Running) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    yield connection
    connection.close()


def test_urllib(server: Running) -> None:
    with urllib.request.urlopen(f"{server.url}large.bin", timeout=PATIENCE) as reply:
        assert reply.read() == LARGE
        known = {"If-None-Match": reply.headers["ETag"]}
    again = urllib.request.Request(f"{server.url}large.bin", headers=known)
    with pytest.raises(urllib.error.HTTPError) as not_modified:
        urllib.request.urlopen(again, timeout=PATIENCE)
    with not_modified.value as reply:
        assert (reply.status, reply.read()) == (304, b"")


def test_urllib_follows_a_folder_to_its_slash(server: Running, root: Path) -> None:
    (root / "sub").mkdir(exist_ok=True)
    (root / "sub" / "index.html").write_text("sub")
    with urllib.request.urlopen(f"{server.url}sub?a=b", timeout=PATIENCE) as reply:
        assert (reply.url, reply.read()) == (f"{server.url}sub/?a=b", b"sub")


def test_one_connection_for_everything(connection: http.client.HTTPConnection) -> None:
    seen = []
    connection.connect()
    socket = connection.sock
    for method, target, body in (
        ("GET", "/large.bin", None),
        ("HEAD", "/large.bin", None),
        ("GET", "/nothing", None),
        ("POST", "/index.html", b"sized"),
        ("PUT", "/index.html", iter([b"in ", b"chunks"])),
        ("DELETE", "/index.html", None),
        ("OPTIONS", "*", None),
        ("BREW", "/pot", None),
        ("GET", "/br.txt", None),
    ):
        connection.request(method, target, body, encode_chunked=True)
        reply = connection.getresponse()
        seen.append((reply.status, len(reply.read())))
        assert connection.sock is socket
    assert [status for status, _ in seen] == [200, 200, 404, 405, 405, 405, 204, 501, 200]
    assert seen[1] == (200, 0)
    assert seen[-1] == (200, len(TEXT))


def test_parts_are_mime(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/large.bin", headers={"Range": "bytes=-4,0-3,8-11"})
    reply = connection.getresponse()
    mime = message_from_bytes(
        f"Content-Type: {reply.headers['Content-Type']}\n\n".encode() + reply.read()
    )
    assert [part["Content-Range"] for part in mime.get_payload()] == [
        "bytes 1199996-1199999/1200000",
        "bytes 0-3/1200000",
        "bytes 8-11/1200000",
    ]
    assert [part.get_payload(decode=True) for part in mime.get_payload()] == [
        LARGE[-4:],
        LARGE[:4],
        LARGE[8:12],
    ]
    assert mime.defects == []


def test_urllib3(server: Running) -> None:
    with urllib3.HTTPConnectionPool(server.host, server.port, timeout=PATIENCE, retries=0) as pool:
        reply = pool.request("GET", "/gzip.txt", headers={"Accept-Encoding": "gzip"})
        assert (reply.data, reply.headers["Content-Encoding"]) == (TEXT, "gzip")
        with pool.request("GET", "/large.bin", preload_content=False) as stream:
            assert b"".join(stream.stream(10_000)) == LARGE
        assert pool.request("HEAD", "/large.bin").headers["Content-Length"] == str(len(LARGE))
        assert pool.num_connections == 1
