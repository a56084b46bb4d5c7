"""One connection served with calls that wait: recv until the client sends, send until it reads."""

import socket
import struct
import time
from collections.abc import Callable

from aserve.transport.socket_connection import SocketConnection

_ONE_SECOND = struct.pack("ll", 1, 0)  # a timeval: the timeout of recv and send


def limit_waits(sock: socket.socket) -> None:
    """Make calls on a socket wait, but for a second at most: a deadline or a stop may be due."""
    sock.setblocking(True)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _ONE_SECOND)


def serve_until_closed(connection: SocketConnection, is_stopping: Callable[[], bool]) -> None:
    """Serve one connection until it is closed; raises nothing.

    is_stopping: whether it closes after its response. It is called after each call that may have
    waited, so once a second at least.
    """
    try:
        limit_waits(connection.socket)
        _process_until_closed(connection, is_stopping)
    except Exception as error:  # noqa: BLE001 - what process_ready did not handle
        connection.fail(error)
        connection.abort()


def _process_until_closed(connection: SocketConnection, is_stopping: Callable[[], bool]) -> None:
    ticked, is_closing = time.monotonic(), False
    while not connection.is_closed:
        connection.process_ready(readable=not connection.wants_write)
        now = time.monotonic()
        if now - ticked >= 1 and not connection.is_closed:
            ticked = now
            connection.tick()
        if is_stopping() and not (is_closing or connection.is_closed):
            is_closing = True
            connection.close_after_response()
