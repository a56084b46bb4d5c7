"""A directory that becomes a link to another one all the time: nothing gets out of the root."""

import ctypes
import http.client
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.aserve.programs import start_code

ROUNDS = int(os.environ.get("RACE_ROUNDS", "1000"))
"""How often each client sends all of REQUESTS: half a minute of two processors."""
CLIENTS = 2

PROGRAM = "from aserve.__main__ import main; main()"
OPTIONS = ("--port=0", "--host=127.0.0.1", "--write", "--min-free=0", "--no-fsync")
INSIDE, OUTSIDE, NEW = b"inside" * 100, b"outside" * 100, b"new!" * 4_000

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_libc = ctypes.CDLL(None, use_errno=True)


class Request(NamedTuple):
    """A request, and what it is answered with when nothing else changes the directory."""

    method: str
    target: str
    status: int
    body: bytes | None = None
    headers: Mapping[str, str] = {}


_FORM = b'--x\r\nContent-Disposition: form-data; name="f"; filename="form"\r\n\r\n%s\r\n--x--\r\n'
_TUS = {
    "Tus-Resumable": "1.0.0",
    "Upload-Length": str(len(NEW)),
    "Upload-Metadata": "filename dHVz",  # tus
    "Content-Type": "application/offset+octet-stream",
}
REQUESTS = (
    Request("PUT", "/folder/inner/a", 201, NEW),
    Request("PUT", "/folder/inner/a", 204, NEW),
    Request("GET", "/folder/inner/theirs", 200),
    Request("POST", "/folder/inner/?name=raw", 201, NEW, {"Content-Type": "text/plain"}),
    Request(
        *("POST", "/folder/inner/", 201, _FORM % NEW),
        {"Content-Type": "multipart/form-data; boundary=x"},
    ),
    Request("POST", "/folder/inner/", 201, NEW, _TUS),
    Request("MOVE", "/folder/inner/a", 201, None, {"Destination": "/folder/b"}),
    Request("MKCOL", "/folder/tree", 201),
    Request("PUT", "/folder/tree/c", 201, NEW),
    Request("PUT", "/folder/made/d?mkdir=1", 201, NEW),
    *(Request("DELETE", f"/folder/{name}", 204) for name in ("tree", "made", "b")),
    *(Request("DELETE", f"/folder/inner/{name}", 204) for name in ("raw", "form", "tus")),
)
LEFT = {"theirs", "inner/theirs"}
"""The files that are in the folder after all requests, as before."""
NAMES = (*LEFT, "a", "b", "inner/a", "inner/raw", "inner/form", "inner/tus", "tree/c", "made/d")
"""What is outside: all that a request could replace, move or delete."""


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


class Swapper:
    """Puts links in the place of a directory and of a file in it, and removes them."""

    def __init__(self, root: Path, outside: Path) -> None:
        self._folder, self._link = root / "folder", root / "link"
        self._outside = outside
        self._stopped = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        """Go on until stop is called; the directory is in its place then."""
        while not self._stopped.is_set():
            self._swap_directory()
            self._swap_file()
            self.rounds += 1

    def stop(self) -> None:
        self._stopped.set()

    def _swap_directory(self) -> None:
        """In one step each, so that a path through it leads somewhere at every moment."""
        self._link.symlink_to(self._outside)
        for _ in range(2):
            paths = [os.fsencode(path) for path in (self._folder, self._link)]
            assert not _libc.renameat2(
                _AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE
            ), os.strerror(ctypes.get_errno())
        self._link.unlink()

    def _swap_file(self) -> None:
        self._link.symlink_to(self._outside / "inner/a")
        name = self._folder / "inner/a"
        self._link.rename(name)
        with suppress(FileNotFoundError):
            name.unlink()


def send(client: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    """Send a request; return status and body."""
    client.request(request.method, request.target, request.body, dict(request.headers))
    response = client.getresponse()
    return response.status, response.read()


@contextmanager
def server(root: Path) -> Iterator[str]:
    """Run a server; yield its host and port."""
    program = start_code(PROGRAM, root, *OPTIONS)
    try:
        url = [program.stderr.readline() for _ in range(2)][1].split()[1]
        yield f"127.0.0.1:{urlsplit(url).port}"
        program.terminate()
        _, errors = program.communicate(60)
        messages = [line for line in errors.splitlines() if not line.startswith("  ")]  # the banner
        assert (program.returncode, messages) == (0, [])
    finally:
        program.close()


def send_all(address: str, check: Callable[[Request, int, bytes], None]) -> None:
    """Send all requests, one after another."""
    client = http.client.HTTPConnection(address, timeout=100)
    try:
        for request in REQUESTS:
            check(request, *send(client, request))
    finally:
        client.close()


def check_in_the_race(request: Request, status: int, body: bytes) -> None:
    """Nothing fails in a way that is not foreseen, and no reader sees what is outside."""
    assert status < 500 or status == 503, (request.method, request.target, status, body)
    assert OUTSIDE not in body


def check_after_it(request: Request, status: int, body: bytes) -> None:
    assert status == request.status, (request.method, request.target, status, body)


@pytest.mark.slow
@pytest.mark.timeout(600)  # thousands of requests, beside other tests
def test_nothing_gets_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for directory, names, data in ((root / "folder", LEFT, INSIDE), (outside, NAMES, OUTSIDE)):
        for path in map(directory.joinpath, names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    before = contents(outside)
    swapper = Swapper(root, outside)
    with server(root) as address, ThreadPoolExecutor(CLIENTS + 1) as pool:
        swapping = pool.submit(swapper.run)
        try:
            for _ in range(ROUNDS):
                clients = [
                    pool.submit(send_all, address, check_in_the_race) for _ in range(CLIENTS)
                ]
                for client in clients:
                    client.result()
                assert contents(outside) == before
        finally:
            swapper.stop()
        swapping.result()
        # Each of them works where nothing else changes the directory: they were tried for real.
        for path in (root / "folder").rglob("*"):
            if path.is_file() and path.name != "theirs":
                path.unlink()
        for name in ("tree", "made"):
            with suppress(FileNotFoundError):
                (root / "folder" / name).rmdir()
        send_all(address, check_after_it)
    assert swapper.rounds > 0
    assert contents(outside) == before
    assert contents(root / "folder") == dict.fromkeys(LEFT, INSIDE)
