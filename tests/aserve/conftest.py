"""What the tests of the server share: a folder to serve and a client that hides nothing."""

import asyncio
import os
from urllib.parse import urlsplit

import pytest
import uvloop


def pytest_asyncio_loop_factories():
    """Run what needs a loop on both that aserve can run on."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
def folder(tmp_path):
    """Make a small site."""
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>home</h1>")
    (root / "a.txt").write_text("alpha")
    (root / "sub" / "index.html").write_text("<h1>sub</h1>")
    (root / "large.bin").write_bytes(bytes(range(256)) * 16_384)  # 4 MiB
    for file in root.rglob("*"):
        os.utime(file, (1, 1))  # or they would be too young to be remembered
    return root


class RawClient:
    """A connection that sends what it is told and shows what arrives, octet for octet."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, url):
        where = urlsplit(url)
        return cls(*await asyncio.open_connection(where.hostname, where.port, limit=1 << 20))

    async def send(self, octets):
        self.writer.write(octets)
        await self.writer.drain()

    async def reply(self, method="GET"):
        """Return status, fields (lower-case names) and content of one reply."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        status = int(status_line.split(" ")[1])
        length = int(fields.get("content-length", 0))
        empty = method == "HEAD" or status == 304
        return status, fields, b"" if empty else await self.reader.readexactly(length)

    async def get(self, target, **fields):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        await self.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        return await self.reply()

    async def rest(self):
        """Return everything up to the end of the connection."""
        return await self.reader.read()

    def close(self):
        self.writer.transport.abort()


@pytest.fixture
async def connect():
    """Open raw connections that end with the test."""
    clients = []

    async def open_one(url):
        clients.append(await RawClient.connect(url))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()
