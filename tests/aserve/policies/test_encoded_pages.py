"""Bodies that handlers make are compressed."""

import asyncio
import gzip
import http.client
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, Request, Response
from aserve.policies import encoded_pages
from aserve.policies.encoded_pages import EncodedPages
from aserve.server.site_factory import build_site
from tests.aserve.conftest import RawClient

NOW = 2_000_000_000
TEXT = b"The same words again. " * 100


class Program:
    """Answers with a response that a test has set, and counts."""

    def __init__(self) -> None:
        self.response = Response(200, (("Content-Type", "text/plain"),), (TEXT,), len(TEXT))
        self.calls = 0

    def handle(self, _request: Request, _context: RequestContext) -> Response:
        self.calls += 1
        return self.response


@pytest.fixture
def program() -> Program:
    return Program()


def ask(
    program: Program,
    root: Path,
    coding: str = "gzip",
    *,
    may_wait: bool = True,
    target: str = "/now",
    settings: dict[str, Any] | None = None,
    **headers: str,
) -> Response:
    settings = aserve.Settings(root, handlers={"/now": program}, **(settings or {}))
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("GET", target, headers={"accept-encoding": coding, **given})
    return build_site(settings, Mounts()).handle(request, RequestContext(NOW, may_wait=may_wait))


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def body_of(response: Response) -> bytes:
    return b"".join(part for part in response.body if isinstance(part, bytes))


def test_what_a_program_answers_is_compressed(program: Program, tmp_path: Path) -> None:
    program.response = program.response.with_headers(
        (("Content-Type", "text/plain"), ("Vary", "Cookie"), ("ETag", '"a"'))
    )
    response = ask(program, tmp_path)
    headers = headers_of(response)
    assert gzip.decompress(body_of(response)) == TEXT
    assert response.length == len(body_of(response))
    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Cookie, Accept-Encoding"
    assert headers["etag"] == 'W/"a"'  # other bytes (RFC 9110 section 8.8.1)


@pytest.mark.parametrize("accept", ["", "identity", "gzip;q=0"])
def test_a_client_that_accepts_none_gets_it_as_it_is(
    program: Program, tmp_path: Path, accept: str
) -> None:
    response = ask(program, tmp_path, accept)
    assert body_of(response) == TEXT
    assert headers_of(response)["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "response",
    [
        Response(200, (("Content-Type", "image/png"),), (TEXT,), len(TEXT)),
        Response(200, (("content-encoding", "br"),), (TEXT,), len(TEXT)),
        Response(200, (("vary", "accept-encoding, cookie"),), (TEXT,), len(TEXT)),
        Response(206, (("Content-Range", "bytes 0-9/10"),), (TEXT,), len(TEXT)),
        Response(200, (), (TEXT[:255],), 255),
        Response(200, (), (TEXT,), len(TEXT), echoes=True),
        Response(200, (("Cache-Control", "public, No-Transform"),), (TEXT,), len(TEXT)),
        Response(204),
    ],
)
def test_what_must_not_be_compressed_is_left_as_it_is(
    program: Program, tmp_path: Path, response: Response
) -> None:
    program.response = response
    answer = ask(program, tmp_path)
    assert answer.body == response.body
    assert set(response.headers) == set(answer.headers) - {("Server", "aserve")}


def test_what_does_not_become_smaller_is_sent_as_it_is(program: Program, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(500)
    program.response = Response(200, (), (noise,), len(noise))
    response = ask(program, tmp_path)
    assert "content-encoding" not in headers_of(response)
    assert headers_of(response)["vary"] == "Accept-Encoding"


def test_off_and_siblings_alone(program: Program, tmp_path: Path) -> None:
    for compress in ("off", "siblings"):
        response = ask(program, tmp_path, settings={"compress": compress})
        assert body_of(response) == TEXT
        assert "vary" not in headers_of(response)


def test_an_event_loop_leaves_large_bodies_to_a_thread() -> None:
    """And then finds what the thread has made."""
    policy, on_loop = EncodedPages(), RequestContext(NOW, may_wait=False)
    request = Request("GET", "/", headers={"accept-encoding": "gzip"})
    response = Response(404, (), (TEXT * 3,), len(TEXT) * 3)
    with pytest.raises(BlockingIOError):
        policy.finish(request, on_loop, response)
    policy.finish(request, RequestContext(NOW), response)
    assert gzip.decompress(body_of(policy.finish(request, on_loop, response))) == TEXT * 3


def test_a_large_error_page_of_an_overload_is_as_it_is() -> None:
    policy, error = EncodedPages(), HttpError(503, "Too many requests are waiting.")
    request = Request("GET", "/", headers={"accept-encoding": "gzip"}, error=error)
    response = Response(503, (), (TEXT * 3,), len(TEXT) * 3)
    answer = policy.finish(request, RequestContext(NOW, may_wait=False), response)
    assert body_of(answer) == TEXT * 3


def test_small_bodies_are_compressed_once(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compressor = [], encoded_pages.compressor
    monkeypatch.setattr(encoded_pages, "compressor", lambda *of: made.append(of) or compressor(*of))
    site = build_site(aserve.Settings(tmp_path, handlers={"/now": program}), Mounts())
    for coding in ("gzip", "br", "gzip"):
        request = Request("GET", "/now", headers={"accept-encoding": coding})
        site.handle(request, RequestContext(NOW))
    assert [coding for coding, _ in made] == ["gzip", "br"]


def test_stored_bodies_are_bounded_and_the_least_recently_used_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, compressor = [], encoded_pages.compressor
    monkeypatch.setattr(encoded_pages, "compressor", lambda *of: made.append(of) or compressor(*of))
    policy = EncodedPages()
    request = Request("GET", "/", headers={"accept-encoding": "gzip"})

    def ask_for(number: int) -> None:
        body = b"%d" % number + bytes(60_000)
        policy.finish(request, RequestContext(NOW), Response(404, (), (body,), len(body)))

    for number in range(100):  # 6 MB
        ask_for(number)
        ask_for(0)
    assert len(made) == 100
    size = sum(len(body) + len(encoded) for (body, _), encoded in policy._stored.items())
    assert size == policy._stored_size
    assert (1 << 20) - 70_000 < size <= 1 << 20
    ask_for(1)  # which was dropped
    assert len(made) == 101


def test_a_page_that_a_client_has_is_told_by_the_tag_that_it_has(
    program: Program, tmp_path: Path
) -> None:
    program.response = Response(304, (("ETag", '"a"'),))
    response = ask(program, tmp_path, if_none_match='W/"a"')
    assert headers_of(response)["etag"] == 'W/"a"'
    response = ask(program, tmp_path, if_none_match='"a"')
    assert headers_of(response)["etag"] == '"a"'


def test_a_search_is_not_compressed_and_a_listing_is(program: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    listing = ask(program, tmp_path, target="/", accept="text/html")
    assert headers_of(listing)["content-encoding"] == "gzip"
    tag = headers_of(listing)["etag"]
    known = ask(program, tmp_path, target="/", if_none_match=tag, accept="text/html")
    assert (known.status, headers_of(known)["etag"]) == (304, tag)
    search = ask(program, tmp_path, target="/?q=a", accept="text/html")
    assert "content-encoding" not in headers_of(search)  # BREACH


def test_errors_are_compressed_and_redirects_are_not(program: Program, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    error = ask(program, tmp_path, target="/none", accept="text/html")
    assert (error.status, headers_of(error)["content-encoding"]) == (404, "gzip")
    assert b"Not Found" in gzip.decompress(body_of(error))
    redirect = ask(program, tmp_path, target="/sub?secret")  # which has the path and the query
    assert (redirect.status, "content-encoding" in headers_of(redirect)) == (301, False)


PROPFIND = '<propfind xmlns="DAV:"><prop><{} xmlns="x"/></prop></propfind>'
FORM = "".join(
    f'--b\r\nContent-Disposition: form-data; name="file"; filename="guess{n}"\r\n\r\n\r\n'
    for n in range(20)
)


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("PROPFIND", PROPFIND.format("guess"), {"Depth": "1"}),
        ("POST", f"{FORM}--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}),
    ],
)
def test_what_repeats_the_body_of_a_request_is_not_compressed(
    tmp_path: Path, method: str, body: str, headers: dict[str, str]
) -> None:
    for number in range(20):
        (tmp_path / f"secret{number}").touch()
    with aserve.Server(tmp_path, dav=True, write=("/",), access_log=None) as server:
        client = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        client.request(method, "/", body, {**headers, "Accept-Encoding": "gzip"})
        response = client.getresponse()
        assert response.read().count(b"guess") >= 20  # BREACH
        assert response.headers["Content-Encoding"] is None
        client.close()


async def test_on_the_wire(program: Program, tmp_path: Path) -> None:
    program.response = Response(200, (), (TEXT * 10,), len(TEXT) * 10)
    handlers = {"/now": program}
    (tmp_path / "a.json").write_text(json.dumps(list(range(1_000))))
    with aserve.Server(tmp_path, handlers=handlers, access_log=None) as server:
        for target in ("/now", "/a.json", "/"):
            head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n"
            client = await RawClient.connect(server.url)
            await client.send(f"{head}Connection: close\r\n\r\n".encode())
            data = await asyncio.wait_for(client.reader.read(), 30)
            client.close()
            assert b"\r\nContent-Encoding: gzip\r\n" in data
