"""kill -9 of the server, whenever: each file is whole, and what was answered is there."""

import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.aserve.programs import start_code
from tests.conformance.client import Address

RUN_S = 30
PROGRAM = "from aserve.__main__ import main; main()"
NAMES = ("a", "b", "folder/c")


def body(version: int) -> bytes:
    """Return bytes that show whether they are all there, and of one version."""
    size = random.Random(version).randrange(300_000)
    return b"%08d " % version + bytes([version % 256]) * size


class Uploader:
    """A client that replaces one file again and again, and knows what was answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered = self.sent = 0
        self.was_answered = threading.Event()

    def run(self, address: Address) -> None:
        """Upload until the server is gone."""
        with suppress(ConnectionError), socket.create_connection(address, 60) as client:
            while True:
                self.sent += 1
                data = body(self.sent)
                head = (
                    f"PUT /{self.name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
                )
                client.sendall(head.encode() + data)
                answer = client.recv(4096)
                if not answer:
                    return
                assert answer.startswith(b"HTTP/1.1 20"), answer
                self.answered = self.sent
                self.was_answered.set()

    def check(self, root: Path) -> None:
        """Tell whether the file is what was answered last, or what was sent after it."""
        path = root / self.name
        if self.answered == 0 and not path.exists():
            return
        data = path.read_bytes()
        version = int(data[:8])
        assert data == body(version)
        assert version in {self.answered, self.sent}
        self.answered = self.sent = version


@pytest.mark.slow
def test_kill_9_of_a_server_at_random_moments(tmp_path: Path) -> None:
    """A thousand times, or as often as half a minute allows."""
    (tmp_path / "folder").mkdir()
    uploaders = list(map(Uploader, NAMES))
    randomly, ends_at = random.Random(18), time.monotonic() + RUN_S
    for _ in range(1_000):
        program = start_code(
            PROGRAM, tmp_path, "--port=0", "--host=127.0.0.1", "--write", "--min-free=0"
        )
        try:
            url = [program.stderr.readline() for _ in range(2)][1].split()[1]
            address = Address("127.0.0.1", int(urlsplit(url).port or 0))
            threads = [threading.Thread(target=each.run, args=(address,)) for each in uploaders]
            for thread in threads:
                thread.start()
            for uploader in uploaders:
                uploader.was_answered.wait()  # the first time
            time.sleep(randomly.uniform(0, 0.1))
            os.kill(program.pid, signal.SIGKILL)
        finally:
            program.close()
        for thread in threads:
            thread.join()
        for uploader in uploaders:
            uploader.check(tmp_path)
        if time.monotonic() > ends_at:
            break
