"""Clients of a server that listens on a Unix socket."""

import socket
from contextlib import closing
from pathlib import Path

from tests.aserve import programs
from tests.fork_server import BlockingProgram

TIMEOUT_S = 60


def connect(path: Path | str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(TIMEOUT_S)
    try:
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    return client


def request(client: socket.socket, target: str = "/a.txt") -> bytes:
    """Ask on a connection that is kept; return what is received with the next response."""
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = b""
    while b"\r\n\r\n" not in received:
        data = client.recv(65_536)
        assert data, received
        received += data
    return received


def get(path: Path | str, target: str = "/a.txt") -> bytes:
    """Return the body of a response on a new connection."""
    with closing(connect(path)) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: client.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body


def start(*arguments: object, **options: object) -> tuple[BlockingProgram, list[str]]:
    """Start aserve; return it with the first two lines of its banner."""
    program = programs.start(*arguments, **options)
    assert program.stderr
    return program, [program.stderr.readline() for _ in range(2)]
