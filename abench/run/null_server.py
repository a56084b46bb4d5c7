"""A server that does next to nothing: what a load generator can do at most is seen against it.

One process, uvloop, a reply that was made before, written for each blank line that arrives.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, cast

from abench.run.worker import new_event_loop

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class NullServer:
    """Where it listens, and as which process."""

    url: str
    pid: int


class _NullProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._write(RESPONSE * data.count(b"\r\n\r\n"))


@contextmanager
def null_server() -> Iterator[NullServer]:
    """Have a null server on a free port of 127.0.0.1 for as long as the context lasts.

    The end of a pipe ends it, which comes by itself if this process dies.
    """
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        pid = os.fork()
        if pid == 0:
            _child(listener, reading, writing)
        os.close(reading)
        try:
            yield NullServer(f"http://127.0.0.1:{listener.getsockname()[1]}/", pid)
        finally:
            os.close(writing)
            os.waitpid(pid, 0)


def _child(listener: socket.socket, reading: int, writing: int) -> NoReturn:
    try:
        os.close(writing)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.Runner(loop_factory=new_event_loop).run(_serve(listener, reading))
    finally:
        os._exit(0)


async def _serve(listener: socket.socket, reading: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(reading, over.set)
    await loop.create_server(_NullProtocol, sock=listener)
    await over.wait()
