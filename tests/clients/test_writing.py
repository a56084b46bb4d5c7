"""Programs that store, replace and delete files by PUT, MKCOL and DELETE."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

import aserve
from tests.clients.conftest import LARGE
from tests.clients.running import program, run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[aserve.Server]:
    (tmp_path / "root").mkdir()
    (tmp_path / "body").write_bytes(LARGE)
    with aserve.Server(tmp_path / "root", write=("/",), min_free=0, fsync=False) as server:
        yield server


@pytest.mark.slow  # it needs another program
@pytest.mark.parametrize("options", [(), ("-H", "Transfer-Encoding: chunked"), ("-0",)], ids=str)
def test_curl_stores_replaces_and_deletes(
    options: tuple[str, ...], server: aserve.Server, tmp_path: Path
) -> None:
    def curl(*arguments: str) -> str:
        command = (program("curl"), "-qsS", "-w", "%{http_code}", "-o", "/dev/null", *arguments)
        return run(*command, cwd=tmp_path).stdout

    assert curl(*options, "-T", "body", server.url) == "201"  # it adds the name of the file
    assert (tmp_path / "root/body").read_bytes() == LARGE
    assert curl(*options, "-T", "body", f"{server.url}body") == "204"
    assert curl("-X", "MKCOL", f"{server.url}folder") == "201"
    assert curl(*options, "-T", "body", f"{server.url}folder/a/b") == "409"
    assert curl(*options, "-T", "body", f"{server.url}folder/a/b?mkdir=1") == "201"
    assert (tmp_path / "root/folder/a/b").read_bytes() == LARGE
    for name in ("body", "folder"):
        assert curl("-X", "DELETE", f"{server.url}{name}") == "204"
    assert not list((tmp_path / "root").iterdir())


@pytest.mark.slow
def test_wget_stores(server: aserve.Server, tmp_path: Path) -> None:
    command = (program("wget"), "-q", "-O", "-", "--method=PUT", "--body-file=body")
    assert run(*command, f"{server.url}new", cwd=tmp_path).returncode == 0
    assert (tmp_path / "root/new").read_bytes() == LARGE


def test_urllib3_and_the_standard_library_store(server: aserve.Server, tmp_path: Path) -> None:
    with urllib3.PoolManager() as pool, (tmp_path / "body").open("rb") as body:
        assert pool.request("PUT", f"{server.url}a", body=b"hello").status == 201
        assert pool.request("PUT", f"{server.url}b", body=body, chunked=True).status == 201
    client = http.client.HTTPConnection(urlsplit(server.url).netloc)
    client.request("PUT", "/c", iter([LARGE[:1_000], LARGE[1_000:]]), encode_chunked=True)
    assert client.getresponse().status == 201
    client.close()
    contents = {path.name: path.read_bytes() for path in (tmp_path / "root").iterdir()}
    assert contents == {"a": b"hello", "b": LARGE, "c": LARGE}
