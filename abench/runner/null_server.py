"""A server that does next to nothing: it shows the highest rate that a load generator can reach.

One process, uvloop, a prepared response, written for each blank line that is received.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, cast

from abench.runner.worker import new_event_loop

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class NullServer:
    """The URL and the process id of a running null server."""

    url: str
    pid: int


class _NullProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._write(RESPONSE * data.count(b"\r\n\r\n"))


@contextmanager
def null_server() -> Iterator[NullServer]:
    """Run a null server on a free port of 127.0.0.1 for as long as the context lasts.

    The end of a pipe stops it, which comes by itself if this process dies.
    """
    read_end, write_end = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        pid = os.fork()
        if pid == 0:
            _child(listener, read_end, write_end)
        os.close(read_end)
        try:
            yield NullServer(f"http://127.0.0.1:{listener.getsockname()[1]}/", pid)
        finally:
            os.close(write_end)
            os.waitpid(pid, 0)


def _child(listener: socket.socket, read_end: int, write_end: int) -> NoReturn:
    try:
        os.close(write_end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.Runner(loop_factory=new_event_loop).run(_serve(listener, read_end))
    finally:
        os._exit(0)


async def _serve(listener: socket.socket, read_end: int) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(read_end, stopped.set)
    await loop.create_server(_NullProtocol, sock=listener)
    await stopped.wait()
