"""Waiting for a socket that has no transport yet."""

import asyncio
import socket


async def wait_readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until a socket has something to read, or is at its end."""
    readable = loop.create_future()
    loop.add_reader(sock.fileno(), _set_result, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock.fileno())


def _set_result(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
