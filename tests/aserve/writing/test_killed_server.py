"""kill -9 of the server, whenever: each file is whole, and what was answered is there."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from aserve.filesystem.writing.storage import Storage
from tests.aserve.programs import start_code
from tests.conformance.client import Address
from tests.marks import slow

PROGRAM = "from aserve.__main__ import main; main()"
OPTIONS = ("--port=0", "--host=127.0.0.1", "--write", "--min-free=0")
NAMES = ("a", "b", "folder/c")
SITES = 4
"""Servers at the same time, each with a directory and clients of its own."""
MAX_ANSWERS = 6
PART_S = 0.01
"""About as long as one upload takes: each kill comes in another part of one."""
IN_TWO_HOURS = 7200


def body(version: int) -> bytes:
    """Return bytes that show whether they are all there, and of one version."""
    size = random.Random(version).randrange(300_000)
    return b"%08d " % version + bytes([version % 256]) * size


class Uploader:
    """A client that adds one file, replaces it twice and deletes it, again and again.

    answered: the content that it was told to be there, None for no file; sent: that which it asked
    for last.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._version = 0
        self.answered: bytes | None = None
        self.sent: bytes | None = None

    def run(self, address: Address, answers: threading.Semaphore) -> None:
        """Go on until the server is gone."""
        try:
            with suppress(ConnectionError), socket.create_connection(address, 60) as client:
                while self._exchange(client):
                    answers.release()
        finally:
            answers.release(MAX_ANSWERS)  # nothing waits for this one any more

    def _exchange(self, client: socket.socket) -> bool:
        """Send the next request; tell whether it was answered."""
        self._version += 1
        self.sent = body(self._version) if self._version % 4 else None
        client.sendall(self._request())
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := client.recv(4096)):
                return False
            head += data
        is_missing = self.answered is None and self.sent is None
        assert head.startswith(b"HTTP/1.1 404" if is_missing else b"HTTP/1.1 20"), head
        self.answered = self.sent
        # What a 404 has to say would be taken for the next answer.
        return not is_missing

    def _request(self) -> bytes:
        method, data = ("DELETE", b"") if self.sent is None else ("PUT", self.sent)
        head = f"{method} /{self._name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    def check(self, root: Path) -> None:
        """Tell whether the file is what was answered last, or what was asked for after it."""
        path = root / self._name
        found = path.read_bytes() if path.exists() else None
        assert found in (self.answered, self.sent)
        self.answered = self.sent = found


@contextmanager
def running_until_killed(root: Path) -> Iterator[tuple[Address, int]]:
    """Run a server; yield its address and process id."""
    program = start_code(PROGRAM, root, *OPTIONS)
    try:
        url = [program.stderr.readline() for _ in range(2)][1].split()[1]
        yield Address("127.0.0.1", urlsplit(url).port or 0), program.pid
        assert program.wait() == -signal.SIGKILL
    finally:
        program.close()


def kill_again_and_again(root: Path, seed: int, times: int) -> None:
    """Start a server for a directory and kill it; look at the files each time."""
    (root / "folder").mkdir(parents=True)
    uploaders, randomly = list(map(Uploader, NAMES)), random.Random(seed)
    for _ in range(times):
        answers = threading.Semaphore(0)
        with ThreadPoolExecutor() as pool, running_until_killed(root) as (address, pid):
            runs = [pool.submit(uploader.run, address, answers) for uploader in uploaders]
            for _ in range(randomly.randrange(MAX_ANSWERS)):
                answers.acquire()
            time.sleep(randomly.uniform(0, PART_S))
            os.kill(pid, signal.SIGKILL)
        for run in runs:
            run.result()
        for uploader in uploaders:
            uploader.check(root)
    Storage(root).sweep(time.time() + IN_TWO_HOURS)
    assert {str(path.relative_to(root)) for path in root.rglob("*")} <= {*NAMES, "folder"}


@pytest.mark.timeout(600)  # many processes are started, beside other tests
@pytest.mark.parametrize(("part", "kills"), [(0, 2), *(slow(part, 25) for part in range(1, 11))])
def test_kill_9_of_a_server_at_random_moments(tmp_path: Path, part: int, kills: int) -> None:
    """A thousand times in all, and eight times in every run."""
    with ThreadPoolExecutor(SITES) as pool:
        sites = [
            pool.submit(kill_again_and_again, tmp_path / str(site), SITES * part + site, kills)
            for site in range(SITES)
        ]
    for site in sites:
        site.result()
