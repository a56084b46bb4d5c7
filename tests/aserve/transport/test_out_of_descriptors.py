"""Descriptors run out: accept fails with EMFILE (accept(2)), and a retry at once would spin."""

import errno
import socket
import threading
from contextlib import ExitStack

import pytest

from aserve.filesystem.directory import Directory
from aserve.http1.limits import Limits
from aserve.policies.site import Site
from aserve.transport.registry import MODELS

TIMEOUT = 60.0
REQUEST = b"GET /file HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class FailingListener(socket.socket):
    """A listener whose first accept fails, and which counts the calls."""

    calls = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.calls == 1:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


TESTED_ELSEWHERE = {"reactor", "proactor"}  # they have tests of their own
THREADED = [
    name
    for name, row in MODELS.items()
    if not (row.uses_event_loop or row.needs_processes or name in TESTED_ELSEWHERE)
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, int]]:
    """Each model's response and its number of calls by then; the models run at the same time."""
    directory = tmp_path_factory.mktemp("full")
    (directory / "file").write_bytes(b"content")
    results: dict[str, tuple[bytes, int]] = {}

    def run_model(name: str) -> None:
        with FailingListener() as listener, ExitStack() as stack:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ours, control = map(stack.enter_context, socket.socketpair())
            address = listener.getsockname()

            def run_server() -> None:
                server = MODELS[name].create_server(
                    Site.of_files(Directory(directory)), Limits(), None
                )
                server.run([listener], (control.fileno(),), 1.0)

            thread = threading.Thread(target=run_server)
            thread.start()
            with socket.create_connection(address, TIMEOUT) as client:
                client.sendall(REQUEST)
                response = b"".join(iter(lambda: client.recv(1 << 16), b""))
                results[name] = response, listener.calls
            ours.send(b"s")
            thread.join(TIMEOUT)

    threads = [threading.Thread(target=run_model, args=(name,)) for name in THREADED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * TIMEOUT)
    return results


@pytest.mark.parametrize("name", THREADED)
def test_accept_is_not_retried_at_once(name: str, outcomes: dict[str, tuple[bytes, int]]) -> None:
    response, calls = outcomes[name]
    assert response.endswith(b"\r\n\r\ncontent")
    if name != "nonblocking":  # which by design calls accept in every turn
        assert calls <= 3  # EMFILE, success and EAGAIN
