"""The clients of Python's standard library, and urllib3, on which most others are built."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
import urllib3

from tests.clients.conftest import LARGE, TEXT
from tests.clients.running import TIMEOUT_S, RunningServer


@pytest.fixture
def connection(server: RunningServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    yield connection
    connection.close()


def test_urllib(server: RunningServer) -> None:
    with urllib.request.urlopen(f"{server.url}large.bin", timeout=TIMEOUT_S) as response:
        assert response.read() == LARGE
        headers = {"If-None-Match": response.headers["ETag"]}
    again = urllib.request.Request(f"{server.url}large.bin", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as not_modified:
        urllib.request.urlopen(again, timeout=TIMEOUT_S)
    with not_modified.value as response:
        assert (response.status, response.read()) == (304, b"")


def test_urllib_follows_the_redirect_to_a_directory(server: RunningServer, root: Path) -> None:
    (root / "sub").mkdir(exist_ok=True)
    (root / "sub" / "index.html").write_text("sub")
    with urllib.request.urlopen(f"{server.url}sub?a=b", timeout=TIMEOUT_S) as response:
        assert (response.url, response.read()) == (f"{server.url}sub/?a=b", b"sub")


def test_every_method_on_one_connection(connection: http.client.HTTPConnection) -> None:
    responses = []
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
        response = connection.getresponse()
        responses.append((response.status, len(response.read())))
        assert connection.sock is socket
    assert [status for status, _ in responses] == [200, 200, 404, 405, 405, 405, 204, 501, 200]
    assert responses[1] == (200, 0)
    assert responses[-1] == (200, len(TEXT))


def test_a_multipart_response_is_mime(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/large.bin", headers={"Range": "bytes=-4,0-3,8-11"})
    response = connection.getresponse()
    mime = message_from_bytes(
        f"Content-Type: {response.headers['Content-Type']}\n\n".encode() + response.read()
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


def test_urllib3(server: RunningServer) -> None:
    with urllib3.HTTPConnectionPool(server.host, server.port, timeout=TIMEOUT_S, retries=0) as pool:
        response = pool.request("GET", "/gzip.txt", headers={"Accept-Encoding": "gzip"})
        assert (response.data, response.headers["Content-Encoding"]) == (TEXT, "gzip")
        with pool.request("GET", "/large.bin", preload_content=False) as stream:
            assert b"".join(stream.stream(10_000)) == LARGE
        assert pool.request("HEAD", "/large.bin").headers["Content-Length"] == str(len(LARGE))
        assert pool.num_connections == 1
