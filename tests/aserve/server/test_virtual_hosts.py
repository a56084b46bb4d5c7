"""Virtual hosts: the cache never mixes them, and each has its own files, settings and errors."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cache.keys import NOTHING_ELSE
from aserve.cache.response_cache import ResponseCache
from aserve.cli.banner import format_banner
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.handlers.handler import Note, RequestContext
from aserve.http.messages import BodyStream, Request
from aserve.policies.router import HostRouter
from aserve.server.site_factory import build_site
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize

ROUNDS = 5
"""How often each question is asked: the last answers come from the cache."""

HOSTS = {"a.test": "aaaa", "A.Test.:80": "aaaa", "x.b.test": "bbbb", "other.test": "root"}
"""Hosts, and the content of /page.txt there; the sizes and times of these files are equal."""


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    for content in ("root", "aaaa", "bbbb"):
        folder = tmp_path / content
        folder.mkdir()
        (folder / "page.txt").write_text(content)
        (folder / "404.html").write_text(f"nothing in {content}")
        (folder / f"only-{content}.txt").write_text(content)
        (folder / "_headers").write_text(f"/page.txt\n  X-Folder: {content}\n")
        (folder / "_redirects").write_text(f"/old /only-{content}.txt 301\n")
        for file in folder.iterdir():
            os.utime(file, (1, 1))  # old enough to be cached
    return tmp_path


def settings_of(roots: Path, **settings: object) -> Settings:
    paths = (aserve.PathSettings("/page.*", cache="no-store", headers=("* X-Path: b",)),)
    sites = (
        aserve.VirtualHost("a.test", roots / "aaaa", charset="none", headers=("* X-Site: a",)),
        aserve.VirtualHost(
            ["*.b.test", "::1"], roots / "bbbb", server_header=False, cors=("*",), paths=paths
        ),
    )
    return Settings(roots / "root", sites=sites, **settings)


def head(target: str, host: str | None, *lines: str, method: str = "GET", minor: int = 1) -> bytes:
    hosts = () if host is None else (f"Host: {host}",)
    return "\r\n".join((f"{method} {target} HTTP/1.{minor}", *hosts, *lines, "", "")).encode()


def questions(tag: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield requests, and what is in their answers alone."""
    for host, content in HOSTS.items():
        body = b"\r\n\r\n" + content.encode()
        yield head("/page.txt", host), body
        yield head("/page.txt", host, "Cookie: a=1"), body
        yield head("/page.txt", host, "Connection: keep-alive", minor=0), body
        yield head("/page.txt", host, "Range: bytes=1-2"), b"\r\n\r\n" + content[1:3].encode()
        yield head("/page.txt", host, method="HEAD"), b"Content-Length: 4\r\n"
        yield head(f"http://{host}/page.txt", "a.test"), body
        yield head(f"http://{host}/page.txt", "x.b.test"), body
        status = b"304 Not Modified" if content == "aaaa" else b"200 OK"
        yield head("/page.txt", host, f"If-None-Match: {tag}"), status
        yield head("/only-aaaa.txt", host), b"200 OK" if content == "aaaa" else b"404 Not Found"
        yield head("/page.txt", host, "Accept: */*"), f"X-Folder: {content}\r\n".encode()
        yield head("/old", host), f"Location: /only-{content}.txt\r\n".encode()
        yield head("/none", host, "Accept: text/html"), f"nothing in {content}".encode()
    yield head("/page.txt", None, "Connection: keep-alive", minor=0), b"\r\n\r\nroot"
    yield head("/page.txt", ""), b"\r\n\r\nroot"
    yield head("/page.txt", "[0::1]:8000"), b"\r\n\r\nbbbb"


class Client:
    """Asks on one connection, which stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes) -> bytes:
        """Return the answer without its date."""
        self.writer.write(request)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: (\d+)", answer)
        if length and not request.startswith(b"HEAD ") and b" 304 " not in answer[:20]:
            answer += await self.reader.readexactly(int(length[1]))
        return re.sub(rb"\r\nDate: [^\r]*", b"", answer)


@asynccontextmanager
async def serving(
    settings: Settings, *, cache: bool
) -> AsyncIterator[tuple[EventLoopServer, Client, Client]]:
    """Serve sites; the value has two clients besides the server."""
    site = build_site(settings, Mounts())
    responses = ResponseCache(keyed_on=site.keyed_on) if cache else None
    server = EventLoopServer(site, settings.limits, PoolSize(1, 8), None, responses)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start([listener])
    streams = [await asyncio.open_connection(*listener.getsockname()) for _ in range(2)]
    try:
        yield server, Client(*streams[0]), Client(*streams[1])
    finally:
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()
        await server.stop(0)


async def until_cached(server: EventLoopServer) -> None:
    """Wait until no thread is about to cache a response. Results come back through the loop."""
    pool = server.thread_pool
    while pool._free_slots < pool._size.threads + pool._size.queue:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)


async def wrong_answers(settings: Settings) -> tuple[list[bytes], int]:
    """Return the questions that were answered wrongly, cold or warm, and how many are cached."""
    async with serving(settings, cache=False) as (_, client, _other):
        found = await client.ask(head("/page.txt", "a.test"))
        tag = re.search(rb"ETag: ([^\r]*)", found)
        assert tag
        asked = list(questions(tag[1].decode()))
        right = [(request, await client.ask(request)) for request, _ in asked]
    for (request, answer), (_, part) in zip(right, asked, strict=True):
        assert part in answer, request
    wrong = []
    async with serving(settings, cache=True) as (server, *clients):
        for number in range(ROUNDS):
            for request, answer in right[:: 1 if number % 2 else -1]:
                for client in clients:
                    if await client.ask(request) != answer:
                        wrong.append(request)
                    await until_cached(server)
        assert server.cache
        return wrong, len(server.cache._by_key)


async def test_the_cache_mixes_no_hosts(roots: Path) -> None:
    wrong, cached = await wrong_answers(settings_of(roots))
    assert wrong == []
    assert cached > 2 * len(HOSTS)  # or nothing was asked warm


async def test_a_cache_that_is_not_keyed_on_the_host_would_be_found(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HostRouter, "own_keys", NOTHING_ELSE)
    wrong, _ = await wrong_answers(settings_of(roots))
    assert wrong


async def test_a_file_that_changes_on_one_host_changes_there_alone(roots: Path) -> None:
    requests = [head("/page.txt", host) for host in HOSTS]
    async with serving(settings_of(roots), cache=True) as (server, client, _):
        for _ in range(ROUNDS):
            before = [await client.ask(request) for request in requests]
            await until_cached(server)
        (roots / "bbbb" / "page.txt").write_text("changed")
        after = [await client.ask(request) for request in requests]
    for host, old, new in zip(HOSTS, before, after, strict=True):
        assert new.endswith(b"changed") if host == "x.b.test" else new == old


def test_each_host_has_its_own_settings_and_errors_too(roots: Path) -> None:
    site = build_site(settings_of(roots), Mounts())

    def headers(host: str, target: str) -> dict[str, str]:
        asked = Request("GET", target, headers={"host": host})
        return dict(site.handle(asked, RequestContext(0)).headers)

    for target in ("/page.txt", "/none"):
        assert headers("a.test", target)["Server"] == "aserve"
        assert "Server" not in headers("x.b.test", target)
    assert headers("a.test", "/page.txt")["Content-Type"] == "text/plain"
    for host, own in [("a.test", {"X-Site"}), ("x.b.test", {"X-Path"}), ("other.test", set())]:
        assert {"X-Site", "X-Path"} & headers(host, "/page.txt").keys() == own
    assert headers("x.b.test", "/page.txt")["Cache-Control"] == "no-store"
    assert headers("other.test", "/page.txt")["Content-Type"] == "text/plain; charset=utf-8"


def test_an_explanation_says_which_host(roots: Path) -> None:
    site = build_site(settings_of(roots, allowed_hosts=("c.test",)), Mounts())

    def notes(host: str) -> list[Note]:
        found: list[Note] = []
        asked = Request("GET", "/page.txt", headers={"host": host})
        site.handle(asked, RequestContext(0, notes=found))
        return found

    assert notes("a.test")[0] == Note("host", f"of a.test: {roots}/aaaa", "default")
    assert notes("c.test")[0] == Note("host", f"of no other site: {roots}/root", "default")
    assert notes("evil.test")[0] == Note("host", "not served", "default")


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({}, "evil.test", 200),
        ({"allowed_hosts": ("local",)}, "evil.test", 421),
        ({"allowed_hosts": ("local",)}, "localhost.evil.test", 421),
        ({"allowed_hosts": ("local",)}, "app.localhost:8000", 200),
        ({"allowed_hosts": ("local",)}, "127.0.0.1", 200),
        ({"allowed_hosts": ("local",)}, "[::1]:8000", 200),
        ({"allowed_hosts": ("local",)}, "box.example:8000", 200),
        ({"allowed_hosts": ("local",)}, "box.local", 200),
        ({"allowed_hosts": ("local",), "host": "dev.test"}, "dev.test:8000", 200),
        ({"allowed_hosts": ("*.dev.test", "me.test")}, "x.dev.test", 200),
        ({"allowed_hosts": ("*.dev.test", "me.test")}, "me.test.", 200),
        ({"allowed_hosts": ("*.dev.test", "me.test")}, "localhost", 200),
        ({"allowed_hosts": ("*.dev.test", "me.test")}, "dev.test", 421),
    ],
)
def test_names_that_are_not_allowed_are_answered_with_421(
    roots: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, tuple[str, ...]],
    host: str,
    status: int,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.example")
    site = build_site(Settings(roots / "root", **settings), Mounts())
    response = site.handle(Request("GET", "/page.txt", headers={"host": host}), RequestContext(0))
    assert response.status == status
    body = b"".join(part for part in response.body if isinstance(part, bytes))
    assert (b"--allowed-hosts" in body) == (status == 421)
    assert dict(response.headers)["Server"] == "aserve"


def test_where_only_sites_are_all_other_hosts_get_421(roots: Path) -> None:
    with aserve.Server({}, sites=(aserve.VirtualHost("a.test", roots / "aaaa"),)) as server:
        assert "1 site by host" in repr(server)
        for host, status in [("a.test", 200), ("b.test", 421), ("127.0.0.1", 421)]:
            with closing(HTTPConnection(urlsplit(server.url).netloc)) as client:
                client.request("GET", "/page.txt", headers={"Host": host})
                assert client.getresponse().status == status


def deployed(folder: Path, name: str) -> Path:
    """Deploy a folder as `ln -sfn` does, but at once; return the link."""
    link, new = folder / "current", folder / "new"
    new.symlink_to(folder / name)
    new.rename(link)
    return link


def text_of(server: aserve.Server, host: str) -> bytes:
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as client:
        client.request("GET", "/page.txt", headers={"Host": host})
        return client.getresponse().read()


@pytest.mark.parametrize("is_site", [False, True])
@pytest.mark.parametrize(("linked_root", "seen"), [("follow", b"bbbb"), ("reload", b"aaaa")])
def test_a_link_to_a_root_leads_elsewhere_at_once_or_with_a_reload(
    roots: Path, linked_root: str, seen: bytes, is_site: bool
) -> None:
    link = deployed(roots, "aaaa")
    sites = (aserve.VirtualHost("a.test", link),) if is_site else ()
    root = roots / "root" if is_site else link
    with aserve.Server(root, linked_root=linked_root, sites=sites) as server:
        assert [text_of(server, "a.test") for _ in range(ROUNDS)] == [b"aaaa"] * ROUNDS
        deployed(roots, "bbbb")
        assert [text_of(server, "a.test") for _ in range(ROUNDS)] == [seen] * ROUNDS
        server.reload()
        assert [text_of(server, "a.test") for _ in range(ROUNDS)] == [b"bbbb"] * ROUNDS


PATHS = (
    aserve.PathSettings("/closed/open/*", title="Open"),
    aserve.PathSettings("/closed/*", listing="off"),
    aserve.PathSettings("*.md", charset="none"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.md", "closed/secret.txt", "closed/open/x.txt", "closed-not/y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def get(root: Path, target: str) -> tuple[int, dict[str, str], bytes]:
    site = build_site(Settings(root, paths=PATHS), Mounts())
    response = site.handle(Request("GET", target), RequestContext(0))
    (part,) = response.body
    body = b"".join(iter(part.read, b"")) if isinstance(part, BodyStream) else part
    assert isinstance(body, bytes)
    return response.status, dict(response.headers), body


def test_paths_have_settings_of_their_own(tree: Path) -> None:
    assert get(tree, "/a.md")[1]["Content-Type"] == "text/markdown"
    assert get(tree, "/closed/secret.txt")[2] == b"closed/secret.txt"
    assert get(tree, "/closed/")[0] == 404
    assert b"Open" in get(tree, "/closed/open/")[2]
    assert get(tree, "/closed-not/")[0] == 200


@pytest.mark.parametrize("query", ["q=.&deep=1&format=json", "archive=tar", "archive=zip"])
def test_what_is_not_listed_is_in_no_search_and_no_archive_from_above(
    tree: Path, query: str
) -> None:
    status, _, body = get(tree, f"/?{query}")
    assert status == 200
    assert b"closed-not/y.txt" in body
    assert b"secret" not in body
    assert b"x.txt" not in body


def test_a_selection_of_what_is_not_listed_is_an_archive_without_it(tree: Path) -> None:
    body = get(tree, "/?archive=tar&name=closed&name=a.md")[2]
    assert b"a.md" in body
    assert b"secret" not in body


def ask(server: aserve.Server, host: str, method: str, path: str, body: bytes = b"", **more: str):
    """Return the status and the headers of a response; names of headers have no dashes here."""
    headers = {"Host": host, **{name.replace("_", "-"): value for name, value in more.items()}}
    with closing(HTTPConnection(urlsplit(server.url).netloc)) as client:
        client.request(method, path, body, headers)
        response = client.getresponse()
        response.read()
        return response.status, response.headers


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_files_are_written_to_the_site_of_the_host_and_to_no_other(roots: Path, model: str) -> None:
    paths = (aserve.PathSettings("/in/*", title="In"),)
    sites = (
        aserve.VirtualHost("w.test", roots / "aaaa", write=("/",), paths=paths),
        aserve.VirtualHost("r.test", roots / "bbbb"),
    )
    allowed = ("local",)
    with aserve.Server(roots / "root", sites=sites, model=model, allowed_hosts=allowed) as server:
        assert ask(server, "w.test", "MKCOL", "/in")[0] == 201
        assert ask(server, "w.test:80", "PUT", "/in/a.txt", b"new")[0] == 201
        assert (roots / "aaaa" / "in" / "a.txt").read_bytes() == b"new"
        destination = "http://w.test/in/b.txt"
        assert ask(server, "w.test", "MOVE", "/in/a.txt", Destination=destination)[0] == 201
        tus = {"Tus_Resumable": "1.0.0"}
        metadata = "filename YmlnLnR4dA=="  # big.txt
        created = ask(
            server, "w.test", "POST", "/in/", Upload_Length="3", Upload_Metadata=metadata, **tus
        )
        assert created[0] == 201
        location = created[1]["Location"]
        kind = "application/offset+octet-stream"
        sent = ask(
            server, "w.test", "PATCH", location, b"big", Upload_Offset="0", Content_Type=kind, **tus
        )
        assert sent[0] == 204
        assert {path.name for path in (roots / "aaaa" / "in").iterdir()} == {"b.txt", "big.txt"}
        for host, status in [("r.test", 405), ("localhost", 405), ("evil.test", 421)]:
            assert ask(server, host, "PUT", "/in/a.txt", b"new")[0] == status
        assert not [*roots.glob("root/in"), *roots.glob("bbbb/in")]


def test_the_banner_names_each_site_and_what_can_be_written_to(roots: Path) -> None:
    sites = (
        aserve.VirtualHost("a.test", roots / "aaaa", spa="page.txt"),
        aserve.VirtualHost(["::1", "b.test"], roots / "bbbb", write=("/",)),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        alone = format_banner(Settings({}, port=port, sites=sites), listener).splitlines()
        beside = format_banner(Settings(roots / "root", sites=sites[:1]), listener).splitlines()
    assert alone == [
        f"aserve {aserve.__version__} serves 2 sites by host",
        f"  open   http://a.test:{port}/",
        f"  site   http://a.test:{port}/  {roots}/aaaa (a single-page app)",
        f"  site   http://[::1]:{port}/  {roots}/bbbb",
        "  write  files may be changed everywhere",
        f"         curl -T FILE 'http://[::1]:{port}/'",
        "  stop   Ctrl-C",
    ]
    assert beside[0].endswith(f" serves {roots}/root and 1 site by host")
    assert beside[1].startswith(f"  open   http://127.0.0.1:{port}/")
    assert beside[3] == alone[2]
