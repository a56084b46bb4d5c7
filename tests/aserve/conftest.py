"""Shared by the tests of the server: a directory to serve, and a client on the level of bytes."""

import asyncio
import codecs
import os
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.aserve import programs


def pytest_asyncio_loop_factories():
    """Run asynchronous tests on both event loops that aserve supports."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Ask the second loop what differs with the cache alone in make test-all."""
    for item in items:
        parts = item.name.partition("[")[2].rstrip("]").split("-")
        if "asyncio" in parts and "no cache" in parts:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def directory(tmp_path):
    """Make a small site."""
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>home</h1>")
    (root / "a.txt").write_text("alpha")
    (root / "sub" / "index.html").write_text("<h1>sub</h1>")
    for file in root.rglob("*"):
        os.utime(file, (1, 1))  # old enough to be cached
    return root


@pytest.fixture
def large_file(directory):
    """Add a file of 4 MiB to the site: more than the kernel buffers of a response."""
    file = directory / "large.bin"
    file.write_bytes(bytes(range(256)) * 16_384)
    os.utime(file, (1, 1))
    return file


@pytest.fixture
def nobody():
    """Drop root's right to read everything, if the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    codecs.lookup("latin-1")  # nobody may not read the standard library where it is root's
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture(scope="session", autouse=True)
def _programs_are_closed():
    yield
    programs.close()


class RawClient:
    """A connection that sends bytes as they are given and returns what arrives, unchanged."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, url):
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def read_response(self, method="GET"):
        """Return status, headers (with lower-case names) and body of one response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(status_line.split(" ")[1])
        length = int(headers.get("content-length", 0))
        has_no_body = method == "HEAD" or status == 304
        return status, headers, b"" if has_no_body else await self.reader.readexactly(length)

    async def get(self, target, **headers):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        await self.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        return await self.read_response()

    async def read_all(self):
        """Return all bytes up to the end of the connection."""
        return await self.reader.read()

    def close(self):
        self.writer.transport.abort()


@pytest.fixture
async def connect():
    """Return a function that opens a RawClient, which is closed after the test."""
    clients = []

    async def open_one(url):
        clients.append(await RawClient.connect(url))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
