"""The accept loop, which all models share that are told when a connection waits."""

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from aserve.http.subscribers import NO_ADDRESS
from aserve.transport.connection_limiter import RESOURCE_ERRNOS

MAX_ACCEPTS = 128
"""Connections accepted in one turn, before the open ones are served.

They take 5 ms at most. Of 1,000 that come at once, the last ones wait for as many turns of all that
were accepted before: their p99 in three seconds was 165 ms with 32, 55 with 128, 45 with 512.
"""

T = TypeVar("T")


def accept_ready(
    accept: Callable[[], tuple[T, Any]],
    serve: Callable[[T, str], None],
    pause: Callable[[], None],
) -> bool:
    """Accept the connections that wait. Return whether more may be waiting.

    accept: the listener's, which does not block. serve: gets each connection and the address of its
    client, and raises nothing. pause: called when descriptors or memory have run out, since to
    retry at once would spin.
    """
    for _ in range(MAX_ACCEPTS):
        try:
            sock, address = accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                pause()
                return False
            if error.errno == errno.ENOTSOCK:
                return False  # something else is in its place: the server was interrupted
            continue  # the client has gone already
        # One of a Unix socket has none, or the path that it is bound to itself.
        serve(sock, address[0] if address.__class__ is tuple else NO_ADDRESS)
    return True
