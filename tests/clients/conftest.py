"""A site with files for every client, and an aserve that serves it."""

import gzip
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.running import RunningServer, serving

LARGE = struct.pack(">300000I", *range(300_000))
"""1.2 MB in which no aligned four bytes repeat: a wrong offset shows."""
TEXT = b"the same bytes with every content coding\n" * 100
MODIFIED = 1_700_000_000


def _brotli(data: bytes) -> bytes:
    """Return data as one stored meta-block (RFC 7932 section 9.2), of at most 64 KiB."""
    return (len(data) - 1 << 4 | 1 << 20).to_bytes(3, "little") + data + b"\x03"


def _zstandard(data: bytes) -> bytes:
    """Return data as a frame of one raw block (RFC 8878 section 3.1.1)."""
    block = (len(data) << 3 | 1).to_bytes(3, "little") + data
    return b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + block


ENCODERS = {"gzip.txt.gz": gzip.compress, "br.txt.br": _brotli, "zstd.txt.zst": _zstandard}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clients") / "root"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html>\n<title>Home</title>\n")
    (root / "large.bin").write_bytes(LARGE)
    for name, encode in ENCODERS.items():
        (root / name).with_suffix("").write_bytes(TEXT)
        (root / name).write_bytes(encode(TEXT))
    for path in root.iterdir():
        os.utime(path, (MODIFIED, MODIFIED))
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(root, tmp_path_factory.mktemp("log") / "access.log") as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers, which stop at the end of the test."""
    with ExitStack() as servers:

        def start(root: Path, *options: str, **limits: int) -> RunningServer:
            log = tmp_path / f"access-{root.name}.log"
            return servers.enter_context(serving(root, log, *options, **limits))

        yield start
