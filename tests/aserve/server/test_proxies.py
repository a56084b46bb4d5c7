"""A server behind a proxy that it trusts: what it says and keeps is for the client of each request.

Most proxies send the requests of many clients on one connection, so what was cached for one of them
is asked for by the next one, on the same connection and on others.
"""

import asyncio
import base64
import os
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aserve
from aserve.cache.keys import KeyedOn
from aserve.config.settings import Settings, SettingsError
from aserve.http1.limits import Limits
from aserve.policies.policy import Policy
from aserve.policies.site import Site
from aserve.transport.eventloop.proxied_cache import ProxiedCache
from tests.aserve.server.test_virtual_hosts import Client, serving, until_cached

ROUNDS = 5
"""How often each question is asked: the last answers come from the cache."""

CLIENT, OTHER = "192.0.2.1", "192.0.2.2"
LOCAL = ("127.0.0.1",)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in (("a.txt", "alpha"), ("404.html", "nothing"), ("sub/index.html", "sub")):
        file = tmp_path / "root" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        os.utime(file, (1, 1))
    return tmp_path / "root"


def head(target: str, client: str = CLIENT, *lines: str, host: str = "x", minor: int = 1) -> bytes:
    said = (f"X-Forwarded-For: {client}",) if client else ()
    request = f"GET {target} HTTP/1.{minor}"
    return "\r\n".join((request, f"Host: {host}", *said, *lines, "", "")).encode()


async def answers(
    settings: Settings, *asked: tuple[bytes, bytes]
) -> tuple[list[tuple[bytes, bytes]], int]:
    """Ask on two connections by turns. Return what was answered wrongly, and how many are cached.

    asked: requests, and what must be in the answer.
    """
    async with serving(settings, cache=True) as (server, *clients):
        wrong = []
        for round_number in range(ROUNDS):
            for number, (request, part) in enumerate(asked):
                answer = await clients[(round_number + number) % 2].ask(request)
                if part not in answer:
                    wrong.append((request, answer))
                await until_cached(server)
        assert server.cache
        return wrong, len(server.cache._by_key)


async def test_clients_that_are_not_served_get_nothing_by_the_connection_of_others(
    root: Path,
) -> None:
    settings = Settings(root, deny=(OTHER,), proxy_trust=LOCAL)
    wrong, cached = await answers(
        settings,
        (head("/a.txt"), b"alpha"),
        (head("/a.txt", "192.0.2.3"), b"alpha"),
        (head("/a.txt", "", f"Forwarded: for={CLIENT};proto=https"), b"alpha"),
        (head("/a.txt", ""), b"alpha"),  # of the proxy itself
    )
    assert wrong == []
    assert cached == 1
    async with serving(settings, cache=True) as (server, client, other):
        for _ in range(ROUNDS):
            assert b"alpha" in await client.ask(head("/a.txt"))
            await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 1
        assert b" 403 " in await client.ask(head("/a.txt", OTHER))
        assert b" 403 " in await other.ask(head("/a.txt", f"{CLIENT}, {OTHER}"))


async def test_a_cache_that_does_not_ask_who_it_is_would_be_found(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ProxiedCache.lookup_head

    def forget(self: ProxiedCache, head: bytes, now: float) -> object:
        monkeypatch.setattr(self._shared, "is_barred", None)
        return original(self, head, now)

    monkeypatch.setattr(ProxiedCache, "lookup_head", forget)
    with pytest.raises(AssertionError):
        await test_clients_that_are_not_served_get_nothing_by_the_connection_of_others(root)


class Shown(Policy):
    """Says what it sees of the client."""

    keyed_on = KeyedOn(client=True, scheme=True, headers=frozenset({"host"}))

    def finish(self, request, context, response):
        seen = f"{context.scheme} {request.headers.get('host')} {context.client}"
        return response.with_headers((*response.headers, ("X-Seen", seen)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the policy to each site."""
    original = Site.__init__

    def add(self: Site, handler, policies=(), *others, **named) -> None:
        original(self, handler, (*policies, Shown()), *others, **named)

    monkeypatch.setattr(Site, "__init__", add)


def seen(text: str) -> bytes:
    return f"\r\nX-Seen: {text}\r\n".encode()


TLS, HOST = "X-Forwarded-Proto: https", "X-Forwarded-Host: A.test:81"


@pytest.mark.usefixtures("shown")
async def test_no_client_gets_what_another_one_may_see(root: Path) -> None:
    wrong, cached = await answers(
        Settings(root, proxy_trust=LOCAL),
        (head("/a.txt"), seen(f"http x {CLIENT}")),
        (head("/a.txt", OTHER), seen(f"http x {OTHER}")),
        (head("/a.txt", CLIENT, TLS), seen(f"https x {CLIENT}")),
        (head("/a.txt", OTHER, TLS, HOST), seen(f"https a.test:81 {OTHER}")),
        (head("/a.txt", OTHER, HOST), seen(f"http a.test:81 {OTHER}")),
        (head("/a.txt", "", f"Forwarded: for={OTHER}"), seen(f"http x {OTHER}")),
        (head("/a.txt", "", f"Forwarded: for={CLIENT};host=b"), seen(f"http b {CLIENT}")),
        (head("/a.txt", "", "Forwarded: for=_x;host=c"), seen("http c 127.0.0.1")),
        (head("/a.txt", "", host="c"), seen("http c 127.0.0.1")),
        (head("https://d/a.txt", CLIENT, TLS), seen(f"https x {CLIENT}")),
        (head("/none", OTHER, TLS), seen(f"https x {OTHER}")),
        (head("/a.txt", CLIENT, "Connection: keep-alive", minor=0), seen(f"http x {CLIENT}")),
    )
    assert wrong == []
    assert cached == 10  # the second and the sixth are one client


@pytest.mark.usefixtures("shown")
async def test_the_same_bytes_mean_something_else_from_a_peer_that_is_not_trusted(
    root: Path,
) -> None:
    """A stranger neither finds what is cached for a client of the proxy, nor puts it there."""
    request = head("/a.txt", CLIENT, TLS, HOST)
    async with (
        serving(Settings(root, proxy_trust=LOCAL), cache=True) as (server, proxy, _),
        stranger_to(server) as stranger,
    ):
        for _ in range(ROUNDS):
            for asker in (stranger, proxy):
                expected = f"https a.test:81 {CLIENT}" if asker is proxy else "http x 127.0.0.2"
                assert seen(expected) in await asker.ask(request)
                await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) == 2


@asynccontextmanager
async def stranger_to(server) -> AsyncIterator[Client]:
    (listener,) = [acceptor._listener for acceptor in server._acceptors]
    streams = await asyncio.open_connection(*listener.getsockname(), local_addr=("127.0.0.2", 0))
    yield Client(*streams)
    streams[1].close()
    await streams[1].wait_closed()


def any_request(choose: random.Random) -> tuple[bytes, str, str]:
    """Return a request, what is seen of it from a proxy, and what from a stranger."""
    client, scheme = choose.choice([CLIENT, OTHER, "2001:db8::1"]), choose.choice(["http", "https"])
    host, own = choose.choice(["a.test", "b.test", ""]), choose.choice(["a.test", "c.test"])
    node = f'"[{client}]"' if ":" in client else client
    forwarded = f"Forwarded: for={node};proto={scheme}" + (f";host={host}" if host else "")
    lines = [f"X-Forwarded-For: 9.9.9.9, {client}", f"X-Forwarded-Proto: {scheme}"]
    lines += [f"X-Forwarded-Host: {host}"] if host else []
    both = [*lines, forwarded.replace("Forwarded: ", "Forwarded: for=_x, ")]
    said = choose.choice([lines, [forwarded], both])
    choose.shuffle(said)
    target = choose.choice(["/a.txt", "/sub/", "/none"])
    request = head(target, "", *said, f"Cookie: {choose.random()}", host=own)
    return request, f"{scheme} {host or own} {client}", f"http {own} 127.0.0.2"


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("seed", range(3))
async def test_any_requests_on_any_connections_are_each_of_their_own_client(
    root: Path, seed: int
) -> None:
    choose = random.Random(seed)
    async with (
        serving(Settings(root, proxy_trust=LOCAL), cache=True) as (server, *proxies),
        stranger_to(server) as stranger,
    ):
        for _ in range(300):
            request, by_proxy, by_stranger = any_request(choose)
            asker = choose.choice([*proxies, *proxies, stranger])
            expected = by_stranger if asker is stranger else by_proxy
            assert seen(expected) in await asker.ask(request)
            await until_cached(server)
        assert server.cache
        assert len(server.cache._by_key) > 20


async def test_sites_are_chosen_by_the_host_that_the_client_asked_for(root: Path) -> None:
    sites = (aserve.VirtualHost("a.test", root / "sub"),)
    settings = Settings(root, sites=sites, proxy_trust=LOCAL, allowed_hosts=("x",))
    wrong, _ = await answers(
        settings,
        (head("/", CLIENT, HOST), b"\r\n\r\nsub"),
        (head("/a.txt", CLIENT, HOST), b"404 Not Found"),
        (head("/a.txt"), b"alpha"),
        (head("/a.txt", CLIENT, "X-Forwarded-Host: lie.test"), b"421 Misdirected"),
        (head("/", "", f"Forwarded: for={CLIENT};host=a.test"), b"\r\n\r\nsub"),
        (head("/", "", f"Forwarded: for={CLIENT};host=lie.test, for=127.0.0.1"), b"421 "),
    )
    assert wrong == []


async def test_hsts_is_for_clients_that_came_by_tls(root: Path) -> None:
    hsts = b"\r\nStrict-Transport-Security: max-age=60\r\n"
    async with serving(Settings(root, hsts=60, proxy_trust=LOCAL), cache=True) as (server, *both):
        for number in range(ROUNDS * 2):
            request = head("/a.txt", CLIENT, *([TLS] if number % 3 else []))
            assert (hsts in await both[number % 2].ask(request)) == bool(number % 3)
            await until_cached(server)
    with pytest.raises(SettingsError, match="hsts: has no effect without cert or https"):
        Settings(root, hsts=60)


async def test_guesses_bar_their_client_and_nobody_else_behind_the_proxy(root: Path) -> None:
    def login(pair: str) -> str:
        return "Authorization: Basic " + base64.b64encode(pair.encode()).decode()

    settings = Settings(root, auth=("ann:a",), proxy_trust=LOCAL)
    right = head("/a.txt", CLIENT, login("ann:a"))
    async with serving(settings, cache=True) as (server, client, other):
        for _ in range(ROUNDS):
            assert b"alpha" in await client.ask(right)
            await until_cached(server)
        for number in range(10):
            guess = head("/a.txt", OTHER, login(f"ann:{number}"))
            assert b" 401 " in await client.ask(guess)
        guesses = right.replace(CLIENT.encode(), OTHER.encode())
        assert b" 429 " in await client.ask(guesses)
        assert b"alpha" in await other.ask(right)


def ask(server: aserve.Server, *requests: bytes, client: str = "127.0.0.1") -> bytes:
    url = urlsplit(server.url)
    address = str(url.hostname), int(url.port or 0)
    with socket.create_connection(address, 60, source_address=(client, 0)) as sock:
        sock.sendall(b"".join(requests))
        return b"".join(iter(lambda: sock.recv(1 << 16), b""))


CLOSE = "Connection: close"


def test_a_page_may_write_to_the_host_that_its_browser_asked_for(root: Path) -> None:
    upload = head("/a.txt", CLIENT, "Origin: https://a.test", "Content-Length: 3", CLOSE)
    upload = upload.replace(b"GET", b"PUT") + b"new"
    own = upload.replace(b"Origin", b"X-Forwarded-Host: a.test\r\nOrigin")
    with aserve.Server(root, write=("/",), proxy_trust=LOCAL) as server:
        assert b" 403 " in ask(server, upload)
        assert b" 403 " in ask(server, own, client="127.0.0.2")
        assert b" 204 " in ask(server, own)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_the_response_to_a_body_is_for_its_client(root: Path, model: str) -> None:
    lines: list[str] = []
    upload = head("/new.txt", CLIENT, TLS, HOST, "Content-Length: 3").replace(b"GET", b"PUT")
    requests = (head("/a.txt", OTHER), upload + b"new", head("/a.txt", OTHER, CLOSE))
    settings = {"model": model, "write": ("/",), "proxy_trust": LOCAL}
    with aserve.Server(root, access_log=lines.append, **settings) as server:
        data = ask(server, *requests)
    others = f"http x {OTHER}"
    found = re.findall(r"X-Seen: ([^\r]*)", data.decode())
    assert found == [others, f"https a.test:81 {CLIENT}", others]
    assert [line.split()[0] for line in lines] == [OTHER, CLIENT, OTHER]


def test_a_contradiction_is_of_no_client_and_never_cached(root: Path) -> None:
    lines: list[str] = []
    odd = head("/a.txt", CLIENT, "Forwarded: for=9.9.9.9")
    with aserve.Server(root, access_log=lines.append, proxy_trust=LOCAL) as server:
        for _ in range(ROUNDS):
            data = ask(server, head("/a.txt", OTHER), odd)
            assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"400"]
    assert [line.split()[0] for line in lines] == [OTHER, "127.0.0.1"] * ROUNDS


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_a_reload_changes_who_is_trusted_on_connections_that_stay(root: Path, model: str) -> None:
    lines: list[str] = []
    with aserve.Server(root, access_log=lines.append, model=model) as server:
        url = urlsplit(server.url)
        with socket.create_connection((str(url.hostname), int(url.port or 0)), 60) as sock:
            for trust in ((), LOCAL, (), ("10.0.0.0/8",), LOCAL):
                server.reload(proxy_trust=trust)
                for _ in range(4):
                    sock.sendall(head("/a.txt"))
                    assert sock.recv(1 << 16).endswith(b"alpha")
    clients = [line.split()[0] for line in lines]
    assert clients == (["127.0.0.1"] * 4 + [CLIENT] * 4 + ["127.0.0.1"] * 8 + [CLIENT] * 4)


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_a_proxy_may_have_more_connections_than_a_client(root: Path, model: str) -> None:
    limits = Limits(max_connections=8, max_connections_per_ip=2)
    request = head("/a.txt", "")
    with aserve.Server(root, model=model, limits=limits, proxy_trust=LOCAL) as server:
        url = urlsplit(server.url)
        address = str(url.hostname), int(url.port or 0)
        with ExitStack() as stack:
            for client, allowed in (("127.0.0.1", 6), ("127.0.0.2", 2)):
                statuses = []
                for _ in range(6):
                    sock = stack.enter_context(socket.create_connection(address, 60, (client, 0)))
                    sock.sendall(request)
                    statuses.append(sock.recv(12)[9:])
                assert statuses.count(b"200") == allowed


def test_what_cannot_be_trusted_is_an_error(root: Path) -> None:
    for text in ("10.0.0.1/8", "proxy.test", "Unix", ""):
        with pytest.raises(SettingsError, match="proxy_trust: must be a network such as"):
            Settings(root, proxy_trust=(text,))
    assert Settings(root, proxy_trust=("unix", "::1", "10.0.0.0/8")).proxy_trust


async def test_requests_are_counted_for_the_client_of_each(root: Path) -> None:
    """Also those that are answered from the cache, on the connections that clients share."""
    settings = Settings(root, rate=f"1/h:{ROUNDS}", proxy_trust=LOCAL)
    async with serving(settings, cache=True) as (server, *clients):
        for number in range(ROUNDS):
            for client in (CLIENT, OTHER):
                assert b"200 OK" in await clients[number % 2].ask(head("/a.txt", client))
                await until_cached(server)
        for connection, client in ((0, OTHER), (1, CLIENT)):
            answer = await clients[connection].ask(head("/a.txt", client))
            assert answer.startswith(b"HTTP/1.1 429 ")


@pytest.mark.parametrize("model", ["simulated-proactor", "epoll"])
def test_a_request_that_is_one_too_many_is_its_clients(root: Path, model: str) -> None:
    with aserve.Server(root, rate="1/h:2", proxy_trust=LOCAL, model=model) as server:
        for client, statuses in ((CLIENT, (200, 200, 429)), (OTHER, (200, 200, 429))):
            for status in statuses:
                answer = ask(server, head("/a.txt", client, "Connection: close"))
                assert answer.startswith(b"HTTP/1.1 %d " % status)
