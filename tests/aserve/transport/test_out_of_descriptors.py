"""Descriptors run out: accept says so, and asking again at once would spin (accept(2): EMFILE)."""

import errno
import socket
import threading
from contextlib import ExitStack

import pytest

from aserve.filesystem.directory import Directory
from aserve.handlers.static_site import StaticSite
from aserve.http1.limits import Limits
from aserve.transport.registry import MODELS

PATIENCE = 10.0
REQUEST = b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Full(socket.socket):
    """A listener that has no room the first time, and counts how often it is asked."""

    asked = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.asked == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


OTHERWISE = {"reactor", "proactor"}  # they have tests of their own
THREADED = [name for name, row in MODELS.items() if not (row.uses_event_loop or name in OTHERWISE)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, int]]:
    """What each model replied, and how often it had asked by then: all at the same time."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "file").write_bytes(b"octets")
    outcomes: dict[str, tuple[bytes, int]] = {}

    def try_out(name: str) -> None:
        with Full() as listener, ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours, orders = map(stack.enter_context, socket.socketpair())
            address = listener.getsockname()

            def live() -> None:
                model = MODELS[name].create_server(StaticSite(Directory(folder)), Limits(), None)
                model.run([listener], (orders.fileno(),), 1.0)

            thread = threading.Thread(target=live)
            thread.start()
            with socket.create_connection(address, PATIENCE) as client:
                client.sendall(REQUEST)
                reply = b"".join(iter(lambda: client.recv(1 << 16), b""))
                outcomes[name] = reply, listener.asked
            ours.send(b"s")
            thread.join(PATIENCE)

    threads = [threading.Thread(target=try_out, args=(name,)) for name in THREADED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    return outcomes


@pytest.mark.parametrize("name", THREADED)
def test_listener_is_left_alone_for_a_while(name: str, asked: dict[str, tuple[bytes, int]]) -> None:
    reply, times = asked[name]
    assert reply.endswith(b"\r\n\r\noctets")
    if name != "nonblocking":  # which asks in every turn, once there is room: that is its nature
        assert times <= 3  # without room, with success, and in vain
