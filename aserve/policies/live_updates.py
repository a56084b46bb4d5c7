"""What has changed in the files of a site since the server started: numbered updates."""

import json
import secrets
from collections import deque
from collections.abc import Callable, Collection, Iterable
from urllib.parse import quote

from aserve.http.content_negotiation import CODINGS
from aserve.http.integers import parse_decimal

MAX_PATHS = 256
"""Paths in one update. If more have changed, it says that everything has."""

_MAX_KEPT = 1_024  # updates, for browsers that come back

_SUFFIXES = tuple(CODINGS.values())

Send = Callable[[bytes], None]
"""Sends server-sent events to one client."""


class LiveUpdates:
    """The updates of one server: each has an id, which is the server's own and a number.

    All methods but update_id are for the event loop's thread.
    """

    def __init__(self) -> None:
        self._server = secrets.token_hex(8)  # another one after each start
        self._number = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=_MAX_KEPT)
        self._subscribers: dict[Send, None] = {}
        self.update_id = f"{self._server}-0"
        """The id of the last update. What is read from the files afterwards has it."""

    def publish(self, paths: Collection[bytes] | None) -> None:
        """Tell all subscribers that paths have changed; None: any may have."""
        self._number += 1
        self.update_id = f"{self._server}-{self._number}"
        is_known = paths is not None and len(paths) <= MAX_PATHS
        data = sorted({*map(_url_path, paths or ())}) if is_known else None
        event = self._event("update", json.dumps(data))
        self._kept.append((self._number, event))
        for send in tuple(self._subscribers):
            send(event)

    def subscribe(self, send: Send, last_id: str) -> None:
        """Send each update after the one with last_id, as far as it is known.

        The first event after those it has missed is a greeting, whose id is that of the last update
        of this server.
        """
        self._subscribers[send] = None
        send(b"".join((*self._missed(last_id), self._event("hello", ""))))

    def unsubscribe(self, send: Send) -> None:
        """Send nothing any more."""
        self._subscribers.pop(send, None)

    def _missed(self, last_id: str) -> Iterable[bytes]:
        server, _, digits = last_id.partition("-")
        number = parse_decimal(digits) if server == self._server else None
        if number is None or not self._kept or self._kept[0][0] > number + 1:
            return ()
        return (event for kept, event in self._kept if kept > number)

    def _event(self, name: str, data: str) -> bytes:
        """Return a server-sent event (WHATWG HTML, 9.2.5)."""
        return f"event: {name}\nid: {self.update_id}\ndata: {data}\n\n".encode()


def _url_path(path: bytes) -> str:
    """Return the path that pages know a file by. A precompressed sibling stands for its file."""
    for suffix in _SUFFIXES:
        path = path.removesuffix(suffix)
    return "/" + quote(path)
