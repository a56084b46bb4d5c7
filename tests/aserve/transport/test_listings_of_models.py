"""Folder pages over real sockets, in every I/O model: two in each run, the others are slow."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aserve
from aserve.policies.response_memory import MAX_INLINE_SIZE
from aserve.transport.registry import DEFAULT
from tests.aserve.seams.serving import NAMES
from tests.conformance.serving import address_of
from tests.marks import slow_except

TIMEOUT = 20.0
NAMES_OF_MANY = [f"{'f' * 200}{number}" for number in range(450)]  # each takes 0.4 KiB of a page


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Client:
    """Sends requests over one connection."""

    def __init__(self, server: aserve.Server, log: list[str]) -> None:
        address = address_of(server)
        self.log = log
        self._connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)

    def get(self, target: str, method: str = "GET", **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, headers=named)
        response = self._connection.getresponse()
        return Reply(response.status, response.headers, response.read())

    def list(self, target: str) -> Any:
        return json.loads(self.get(target, accept="application/json").body)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("listed")
    (root / "many").mkdir()
    for name in NAMES_OF_MANY:
        (root / "many" / name).touch()
    (root / "sub").mkdir()
    for name in (b"a?b#c %2f\xff", b"<img onerror>", b"x\ny", b"plain"):
        (root / "sub" / os.fsdecode(name)).write_bytes(name)
    for name in ("server.key", "server.key.gz", "server.key.br", ".env", "notes~"):
        (root / name).write_bytes(b"SECRET")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(b"SECRET")
    return root


@pytest.fixture(scope="module", params=slow_except(NAMES, DEFAULT, "blocking"))
def client(request: pytest.FixtureRequest, root: Path) -> Iterator[Client]:
    log: list[str] = []
    with aserve.Server(root, model=request.param, access_log=log.append) as server:
        client = Client(server, log)
        yield client
        client.close()


def test_each_listed_link_leads_to_its_file(client: Client) -> None:
    entries = client.list("/sub/")["entries"]
    bodies = [client.get("/sub/" + entry["url"].removeprefix("./")).body for entry in entries]
    assert sorted(bodies) == sorted([b"a?b#c %2f\xff", b"<img onerror>", b"x\ny", b"plain"])
    assert client.get("/sub/").headers["Content-Type"] == "text/html; charset=utf-8"


def test_pages_by_links_and_streams_arrive_whole(client: Client) -> None:
    names = []
    target = "/many/?format=ndjson&limit=300"
    while target:
        page = client.get(target)
        is_chunked = page.headers["Transfer-Encoding"] == "chunked"
        assert is_chunked == (len(page.body) > MAX_INLINE_SIZE)
        names += [json.loads(line)["name"] for line in page.body.splitlines()]
        following = [link for link in page.headers.get("Link", "").split(", ") if "next" in link]
        target = f"/many/{following[0][1 : following[0].index('>')]}" if following else ""
    assert names == NAMES_OF_MANY


def test_a_listing_is_validated_and_has_no_body_for_head(client: Client) -> None:
    for form in ("html", "json", "ndjson", "text"):
        whole = client.get(f"/sub/?format={form}")
        head = client.get(f"/sub/?format={form}", "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["ETag"] == whole.headers["ETag"]
        same = client.get(f"/sub/?format={form}", if_none_match=whole.headers["ETag"])
        assert (same.status, same.body) == (304, b"")


def test_a_change_is_seen_at_once(client: Client, root: Path) -> None:
    file = root / "sub" / "plain"
    before = client.get("/sub/?format=json").headers["ETag"]
    file.write_bytes(b"longer than before")
    try:
        changed = client.get("/sub/?format=json", if_none_match=before)
        assert changed.status == 200
        sizes = {entry["name"]: entry["size"] for entry in json.loads(changed.body)["entries"]}
        assert sizes["plain"] == 18
    finally:
        file.write_bytes(b"plain")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_always_hidden_is_404(client: Client, method: str) -> None:
    """Twice: what is answered from memory must not differ."""
    for _ in range(2):
        for name in ("server.key", "server.key.gz", "server.key.br", ".env", "notes~", ".git/"):
            reply = client.get(f"/{name}", method, accept_encoding="gzip, br")
            assert (reply.status, b"SECRET" in reply.body) == (404, False)
        assert client.get("/.git/config", method).status == 404
    assert [entry["name"] for entry in client.list("/")["entries"]] == ["many", "sub"]


def test_errors_are_answered(client: Client) -> None:
    assert client.get("/none/?format=json").status == 404
    assert client.get("/sub/?offset=99").status == 404
    assert client.get("/sub/?sort=x").status == 400


def test_a_listing_is_logged_as_any_request(client: Client) -> None:
    length = client.get("/sub/?format=text&q=plain").headers["Content-Length"]
    client.get("/sub/plain")  # which is logged after it
    lines = [line for line in client.log if "GET /sub/?format=text&q=plain " in line]
    assert [f'HTTP/1.1" 200 {length} ' in line for line in lines] == [True]


@pytest.mark.parametrize("form", ["html", "json", "ndjson", "text"])
def test_clients_of_http_1_0(client: Client, form: str) -> None:
    """A stream without a length ends with the connection."""
    whole = client.get(f"/many/?format={form}&limit=300").body
    client.close()  # for a model that serves one client after the other
    old = http.client.HTTPConnection(
        client._connection.host, client._connection.port, timeout=TIMEOUT
    )
    old._http_vsn, old._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
    old.request("GET", f"/many/?format={form}&limit=300")
    response = old.getresponse()
    assert response.headers["Transfer-Encoding"] is None
    assert response.read() == whole
    old.close()


def test_listings_that_are_switched_off(root: Path) -> None:
    with aserve.Server(root, listing="off") as server:
        client = Client(server, [])
        assert client.get("/sub/").status == 404
        assert client.get("/sub/?format=json").status == 404
        assert client.get("/sub/plain").status == 200
        client.close()


def test_settings_of_what_is_listed(root: Path) -> None:
    with aserve.Server(
        root, listing="on", page_size=2, hide=("many", "*\n*"), dotfiles=True, symlinks="none"
    ) as server:
        client = Client(server, [])
        assert [entry["name"] for entry in client.list("/")["entries"]] == ["sub"]
        listing = client.list("/sub/")
        assert (listing["total"], listing["limit"], len(listing["entries"])) == (3, 2, 2)
        assert client.get(f"/many/{NAMES_OF_MANY[1]}").status == 404
        client.close()


def test_a_cached_link_is_judged_again_when_it_leads_elsewhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory in (root, outside):
        directory.mkdir()
    for name in ("a", "b", "x.key"):
        (outside / name).write_text(name)
        os.utime(outside / name, (1, 1))  # old enough to be cached

    def lead_to(name: str) -> None:
        (root / "new").symlink_to(outside / name)
        (root / "new").replace(root / "link")

    lead_to("a")
    with aserve.Server(root, symlinks="all") as server:
        client = Client(server, [])
        assert {client.get("/link").body for _ in range(6)} == {b"a"}
        lead_to("b")
        assert {client.get("/link").body for _ in range(6)} == {b"b"}
        lead_to("x.key")
        assert {client.get("/link").status for _ in range(6)} == {404}
        assert client.list("/")["entries"] == []
        lead_to("a")
        assert client.get("/link").body == b"a"
        client.close()
