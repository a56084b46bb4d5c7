"""Clients behind a trusted proxy, in every I/O model: each request is that of its own client."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

import aserve
from aserve.config.server_settings import ServerSettings
from aserve.config.settings import Settings
from aserve.filesystem.mounts import Mounts
from aserve.http1.limits import Limits
from aserve.server.site_factory import build_site
from aserve.transport.connection_context import ConnectionContext
from aserve.transport.connection_limiter import process_limits
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from aserve.transport.registry import DEFAULT
from aserve.transport.socket_connection import SocketConnection
from tests.aserve.transport.test_every_model import SETTINGS as OTHERS
from tests.aserve.transport.test_every_model import UNAVAILABLE
from tests.conformance.serving import running
from tests.marks import slow

TIMEOUT = 60.0
CLIENT, DENIED = "192.0.2.1", "192.0.2.66"
TRUST = {"proxy_trust": ("127.0.0.1",), "deny": (DENIED,)}
MODELS = {DEFAULT: {"model": DEFAULT}, **OTHERS}


SLOW = {"prefork", "signal-driven by the book"}  # to start; and fork is a program as they are


@pytest.fixture(params=[slow(name) if name in SLOW else name for name in MODELS])
def model(request: pytest.FixtureRequest) -> ServerSettings:
    settings = MODELS[request.param]
    if reason := UNAVAILABLE.get(str(settings["model"])):
        pytest.skip(reason)
    return cast("ServerSettings", settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("alpha")
    os.utime(tmp_path / "a.txt", (1, 1))  # old enough to be cached
    return tmp_path


def head(client: str, *lines: str, method: str = "GET", minor: int = 1) -> bytes:
    request = f"{method} /a.txt HTTP/1.{minor}"
    said = f"X-Forwarded-For: {client}"
    return "\r\n".join((request, "Host: a", said, *lines, "", "")).encode()


LAST = "Connection: close"


def ask(address: tuple[str, int], *requests: bytes, client: str = "127.0.0.1") -> list[str]:
    """Return the status of each of some requests on one connection, of which the last closes it."""
    with socket.create_connection(address, TIMEOUT, source_address=(client, 0)) as sock:
        sock.sendall(b"".join(requests))
        data = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    return [part[:3].decode() for part in data.split(b"HTTP/1.1 ")[1:]]


def test_each_request_on_a_connection_is_of_its_own_client(
    model: ServerSettings, folder: Path
) -> None:
    with running(folder, **model, **TRUST) as address:
        for _ in range(3):
            assert ask(address, head(CLIENT, LAST)) == ["200"]
            assert ask(address, head(DENIED, LAST)) == ["403"]
            assert ask(address, head(CLIENT), head(CLIENT), head(DENIED)) == ["200", "200", "403"]
            assert ask(address, head(CLIENT), head(f"x, {CLIENT}, 127.0.0.1", LAST)) == ["200"] * 2
        assert ask(address, head(DENIED, minor=0)) == ["403"]
        assert ask(address, head(CLIENT, minor=0)) == ["200"]
        assert ask(address, head(CLIENT, "Forwarded: for=9.9.9.9", LAST)) == ["400"]
        assert ask(address, head(DENIED, LAST), client="127.0.0.2") == ["200"]


def test_bodies_are_of_their_own_client(model: ServerSettings, folder: Path) -> None:
    upload = head(CLIENT, "Content-Length: 3", LAST, method="PUT") + b"new"
    denied = upload.replace(CLIENT.encode(), DENIED.encode())
    with running(folder, **model, **TRUST, write=("/",)) as address:
        assert ask(address, denied) == ["403"]
        assert (folder / "a.txt").read_text() == "alpha"
        assert ask(address, upload) == ["204"]
        assert ask(address, head(CLIENT), upload.replace(b"Host", b"Forwarded: a=b\r\nHost")) == [
            *("200", "400")
        ]
    assert (folder / "a.txt").read_text() == "new"


def test_the_log_has_the_client_of_each_request(folder: Path) -> None:
    for name in (DEFAULT, "epoll", "proactor"):
        if MODELS.get(name) is None or UNAVAILABLE.get(name):
            continue
        lines: list[str] = []
        with aserve.Server(folder, access_log=lines.append, model=name, **TRUST) as server:
            address = ("127.0.0.1", int(server.url.rsplit(":")[-1].strip("/")))
            for _ in range(4):  # also from the cache
                ask(address, head(CLIENT), head("192.0.2.2"), head("192.0.2.3", LAST))
            ask(address, b"GET / HTTP/9\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
            ask(address, head(CLIENT, LAST), client="127.0.0.2")
        clients = [line.split()[0] for line in lines]
        assert clients == [CLIENT, "192.0.2.2", "192.0.2.3"] * 4 + ["127.0.0.1", "127.0.0.2"]


@pytest.fixture
def local_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "s"))
        yield listener


@pytest.mark.parametrize(("trust", "status"), [("unix", b"403"), ("127.0.0.0/8", b"200")])
async def test_a_proxy_at_a_unix_socket_is_trusted_if_that_is_said(
    folder: Path, local_socket: socket.socket, trust: str, status: bytes
) -> None:
    site = build_site(Settings(folder, deny=(DENIED,), proxy_trust=(trust,)), Mounts())
    server = EventLoopServer(site, Limits(), PoolSize(1, 8))
    path = local_socket.getsockname()
    await server.start([local_socket])
    loop = server.loop
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, path)
        await loop.sock_sendall(sock, head(DENIED))
        assert (await loop.sock_recv(sock, 12))[9:] == status
    await server.stop(0)


@pytest.mark.parametrize(("trust", "status"), [("unix", b"403"), ("127.0.0.0/8", b"200")])
def test_the_same_without_an_event_loop(folder: Path, trust: str, status: bytes) -> None:
    site = build_site(Settings(folder, deny=(DENIED,), proxy_trust=(trust,)), Mounts())
    context = ConnectionContext(site, Limits(), None, process_limits(Limits()))
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with theirs:
        connection = SocketConnection(ours, "-", context)
        theirs.sendall(head(DENIED))
        connection.process_ready()
        assert theirs.recv(12)[9:] == status
        assert connection.client == (DENIED if trust == "unix" else "-")
        assert connection.peer == "-"
        connection.abort()
