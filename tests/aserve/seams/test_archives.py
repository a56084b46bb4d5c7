"""Archives under every model: whole, in part, to old clients, and ended early."""

import io
import logging
import os
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import aserve
from aserve.handlers.archive.handler import Archives
from aserve.handlers.archive.layout import PIECE_SIZE
from aserve.handlers.handler import RequestContext
from aserve.http.messages import HttpError, Request, Response
from aserve.http.request_target import TargetPath, parse_path
from aserve.http.resources import (
    Document,
    Entry,
    Representation,
    Resource,
    Validator,
    file_validator,
)
from aserve.transport.registry import DEFAULT
from tests.aserve.seams.serving import (
    NAMES,
    SEVERAL_AT_A_TIME,
    TIMEOUT,
    FunctionHandler,
    Served,
    connect,
    read_all,
    read_until_cut,
    request,
    serving,
)
from tests.conformance.serving import address_of
from tests.marks import slow_except

MODEL_PARAMS = slow_except(NAMES, DEFAULT, "epoll-et")
SIZE = 1 << 20  # bytes of each file
LARGE = 64 << 20  # more than a kernel holds for a client that does not read
_ZEROS = bytes(PIECE_SIZE)


@pytest.fixture(params=MODEL_PARAMS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "d" / "sub").mkdir(parents=True)
    (root / "d" / "large").write_bytes(os.urandom(3_000_000))
    for n in range(20):
        (root / "d" / "sub" / f"{n:02}").write_bytes(b"small %d" % n)
    return root


def test_an_archive_and_the_rest_of_one(model: str, tree: Path) -> None:
    with aserve.Server(tree, model=model) as server:
        for form, opened in (("zip", zipfile.ZipFile), ("tar", _open_tar)):
            target = f"/d/?archive={form}"
            whole = _fetch(server, request(target))
            with opened(io.BytesIO(whole)):
                pass
            rest = b"Host: a\r\nRange: bytes=2000000-\r\n"
            part = _fetch(server, request(target).replace(b"Host: a\r\n", rest))
            assert part == whole[2_000_000:]


def _open_tar(file: io.BytesIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=file)


def _fetch(server: aserve.Server, asked: bytes) -> bytes:
    with socket.create_connection(address_of(server), TIMEOUT) as client:
        client.sendall(asked)
        return read_all(client).partition(b"\r\n\r\n")[2]


def test_a_client_of_http_1_0_gets_a_compressed_archive(model: str, tree: Path) -> None:
    with aserve.Server(tree, model=model) as server:
        archive = _fetch(server, request("/d/?archive=tar.gz", version="1.0"))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        assert len(tar.getmembers()) == 23


class Zeros:
    """A file of zeros of which something happens when it is read. It counts what is read."""

    is_local = True

    def __init__(self, on_read: Callable[[], bool]) -> None:
        self._on_read = on_read
        self._is_unchanged = True
        self.closed = threading.Event()
        self.bytes_read = 0

    def read(self, start: int, stop: int) -> bytes:
        self.bytes_read += stop - start
        self._is_unchanged = self._on_read()
        return _ZEROS[: stop - start]

    def is_in_page_cache(self, start: int, stop: int) -> bool:
        return True

    def is_unchanged(self) -> bool:
        return self._is_unchanged

    def fileno(self) -> int:
        raise OSError

    def close(self) -> None:
        self.closed.set()


class TwoFiles:
    """A directory of two large files of zeros. The second is gone when it is asked for."""

    def __init__(self, on_read: Callable[[], bool] = lambda: True, size: int = SIZE) -> None:
        self.first = Zeros(on_read)
        self._size = size
        self.has_second = True

    def find(self, path: TargetPath, *, wait: bool) -> Resource:
        if path.segments == (b"second",) and not self.has_second:
            raise HttpError(404, "Nothing is here.")
        source = self.first if path.segments == (b"first",) else Zeros(lambda: True)
        validator = Validator(file_validator(0, 0, 0, self._size).etag, 0)
        return Document((Representation("", self._size, validator, source),))

    def entries(self, path: TargetPath) -> Sequence[Entry]:
        return [Entry(name, False, self._size, 0, mode=0o100644) for name in (b"first", b"second")]

    def walk(self, path: TargetPath) -> Iterator[tuple[tuple[bytes, ...], Entry]]:
        yield from (((entry.name,), entry) for entry in self.entries(path))


class ArchiveHandler(FunctionHandler):
    """Answers with archives alone."""

    def __init__(self, files: TwoFiles) -> None:
        self._archives = Archives(files)

    def handle(self, request: Request, context: RequestContext) -> Response:
        response = self._archives.respond(request, context, parse_path(request.target))
        assert response
        return response


@contextmanager
def archives(model: str, files: TwoFiles) -> Iterator[tuple[Served, socket.socket]]:
    with serving(model, ArchiveHandler(files)) as served, connect(served) as client:
        yield served, client


def _changes_on_second_read() -> Callable[[], bool]:
    states = iter([True, False])
    return lambda: next(states)


def _two_files(case: str) -> TwoFiles:
    if case == "changes":
        return TwoFiles(_changes_on_second_read())
    files = TwoFiles()
    files.has_second = case != "vanishes"
    return files


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("changes", "'files/first': it has changed"),
        ("vanishes", "'files/second': Nothing is here."),
    ],
)
@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_a_file_that_changes_breaks_the_connection(
    model: str, form: str, case: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And no client takes what it has for an archive."""
    with archives(model, _two_files(case)) as (served, client):
        client.sendall(request(f"/?archive={form}"))
        head, _, body = read_until_cut(client).partition(b"\r\n\r\n")
        assert served.logged.acquire(timeout=TIMEOUT)
        assert served.log[0][5]  # marked as truncated
    assert head.startswith(b"HTTP/1.1 200 ")
    if form == "tar.gz":
        assert not body.endswith(b"0\r\n\r\n")
    else:
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        assert len(body) < length
        assert length > 2 * SIZE
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert line == f"/?archive={form}: response truncated: {reason}"


def test_when_the_client_goes_no_more_is_read(model: str) -> None:
    files = TwoFiles(size=LARGE)
    with archives(model, files) as (served, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(request("/?archive=tar"))
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:  # until a file is open
            received += client.recv(1 << 12)
        client.close()
        assert files.first.closed.wait(TIMEOUT)
        assert served.logged.acquire(timeout=TIMEOUT)
    assert files.first.bytes_read < LARGE


@pytest.mark.parametrize("model", SEVERAL_AT_A_TIME, indirect=True)
def test_an_archive_waits_for_its_client(model: str) -> None:
    files = TwoFiles(size=LARGE)
    with archives(model, files) as (served, client):
        client.sendall(request("/?archive=zip"))
        client.recv(1)
        with connect(served) as other:  # whose response comes while the first client reads nothing
            other.sendall(request("/?archive=zip", method="HEAD"))
            assert read_all(other).startswith(b"HTTP/1.1 200 ")
        assert files.first.bytes_read < LARGE
