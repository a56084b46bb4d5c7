"""A sender that fits the transport: plaintext never gets past one that encrypts."""

import asyncio
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from aserve.filesystem.directory import Directory
from aserve.http.messages import BodyStream, Request, Response
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.eventloop.connection import Connection
from aserve.transport.eventloop.file_sender import FileSender
from aserve.transport.eventloop.server import EventLoopServer
from aserve.transport.eventloop.thread_pool import PoolSize
from tests.aserve.seams.serving import FunctionHandler

CIPHER = bytes(byte ^ 0x5A for byte in range(256))  # its own inverse
LARGE = bytes(range(256)) * 4_096  # 1 MiB


def encrypt(data: bytes) -> bytes:
    return data.translate(CIPHER)


class EncryptingTransport(asyncio.Transport):
    """A transport over another one, as TLS is: what it writes is not what the socket sends."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self.inner = inner

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return "a context" if name == "sslcontext" else self.inner.get_extra_info(name, default)

    def write(self, data: Any) -> None:
        self.inner.write(encrypt(bytes(data)))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def __getattribute__(self, name: str) -> Any:
        own = {"inner", "get_extra_info", "write", "writelines", "__class__"}
        return object.__getattribute__(self, name) if name in own else getattr(self.inner, name)


class EncryptedConnection(Connection):
    """A connection whose client decrypts. Requests are plain, for simplicity."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(EncryptingTransport(cast("asyncio.Transport", transport)))


async def exchange(site: Any, target: str) -> bytes:
    """Return what a client gets that decrypts."""
    server = EventLoopServer(site, Limits(), PoolSize(1, 8))
    await server.start([])
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    with theirs:
        await loop.connect_accepted_socket(lambda: EncryptedConnection(server), ours)
        request = f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
        await loop.sock_sendall(theirs, request)
        received = bytearray()
        while data := await loop.sock_recv(theirs, 1 << 18):
            received += data
    await server.stop(1)
    return encrypt(bytes(received))


@pytest.mark.parametrize("size", [5, len(LARGE)])
async def test_a_file_is_encrypted_on_its_way(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(LARGE[:size])
    head, _, body = (await exchange(Site.of_files(Directory(tmp_path)), "/file")).partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == LARGE[:size]


async def test_ranges_and_streams_are_encrypted_as_well(tmp_path: Path) -> None:
    def handle(_: Request) -> Response:
        return Response(200, body=(BodyStream([LARGE, b"end"]),))

    response = await exchange(Site(FunctionHandler(handle)), "/")
    assert response.endswith(LARGE + b"\r\n3\r\nend\r\n0\r\n\r\n")


async def test_a_plain_transport_is_bypassed(tmp_path: Path, monkeypatch: Any) -> None:
    sent = []
    send = FileSender._send_file_slice

    def record(sender: FileSender, part: Any) -> int:
        sent.append(part)
        return send(sender, part)

    monkeypatch.setattr(FileSender, "_send_file_slice", record)
    (tmp_path / "file").write_bytes(LARGE)
    server = EventLoopServer(Site.of_files(Directory(tmp_path)), Limits(), PoolSize(1, 8))
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start([listener])
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(LARGE)
    writer.close()
    await server.stop(1)
    assert sent
