"""Programs that store, replace and delete files by PUT, MKCOL and DELETE."""

import asyncio
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import urllib3

import aserve
from tests.clients.conftest import LARGE
from tests.clients.running import program, run

WANTS_JSON = {"Accept": "application/json"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[aserve.Server]:
    (tmp_path / "root").mkdir()
    (tmp_path / "body").write_bytes(LARGE)
    with aserve.Server(tmp_path / "root", write=("/",), min_free=0, fsync=False) as server:
        yield server


def stored(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


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
    assert stored(tmp_path / "root") == {"a": b"hello", "b": LARGE, "c": LARGE}


def test_requests_stores_replaces_and_deletes(server: aserve.Server, tmp_path: Path) -> None:
    with requests.Session() as session, (tmp_path / "body").open("rb") as body:
        session.trust_env = False  # no proxy
        new = session.put(f"{server.url}a", body)  # from a file, with its length
        tag = session.head(f"{server.url}a").headers["ETag"]  # of the file, compressed
        assert new.status_code == 201
        assert tag.startswith(new.headers["ETag"][:-1])
        chunks = iter([LARGE[:1_000], LARGE[1_000:]])
        assert session.put(f"{server.url}b", chunks).status_code == 201  # in chunks
        # Only one of two writers that have seen the same file may replace it.
        headers = {"If-Match": tag}
        answers = [session.put(f"{server.url}a", word, headers=headers) for word in ("one", "two")]
        assert [answer.status_code for answer in answers] == [204, 412]
        body.seek(0)
        sent = session.post(server.url, files={"f": ("ü.bin", body)}, headers=WANTS_JSON)
        assert sent.json()["files"][0]["name"] == "ü.bin"
        assert session.delete(f"{server.url}b").status_code == 204
    assert stored(tmp_path / "root") == {"a": b"one", "ü.bin": LARGE}


def test_httpx_stores_replaces_and_deletes(server: aserve.Server, tmp_path: Path) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        with (tmp_path / "body").open("rb") as body:
            assert client.put("a", content=body).status_code == 201
        assert client.put("b", content=iter([LARGE[:1_000], LARGE[1_000:]])).status_code == 201
        assert client.put("b", content=b"", headers={"If-None-Match": "*"}).status_code == 412
        with (tmp_path / "body").open("rb") as body:
            sent = client.post("", files={"f": ("ü.bin", body)}, headers=WANTS_JSON)
        assert sent.json()["files"][0]["name"] == "ü.bin"
        assert client.delete("a").status_code == 204
    assert stored(tmp_path / "root") == {"b": LARGE, "ü.bin": LARGE}


async def test_httpx_stores_several_at_once(server: aserve.Server, tmp_path: Path) -> None:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answers = await asyncio.gather(
            *(client.put(str(number), content=b"%d" % number) for number in range(20))
        )
    assert {answer.status_code for answer in answers} == {201}
    assert stored(tmp_path / "root") == {str(number): b"%d" % number for number in range(20)}
