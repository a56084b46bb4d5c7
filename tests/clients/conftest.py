"""A site with something for every client, and an aserve that serves it."""

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.running import Running, serving

LARGE = b"".join(number.to_bytes(4, "big") for number in range(300_000))
"""1.2 MB in which no aligned four octets repeat: a wrong offset shows."""
TEXT = b"the same octets, however they travel\n" * 100
MODIFIED = 1_700_000_000


def _brotli(octets: bytes) -> bytes:
    """Return octets as one stored meta-block (RFC 7932 section 9.2), of at most 64 KiB."""
    return (len(octets) - 1 << 4 | 1 << 20).to_bytes(3, "little") + octets + b"\x03"


def _zstandard(octets: bytes) -> bytes:
    """Return octets as a frame of one raw block (RFC 8878 section 3.1.1)."""
    block = (len(octets) << 3 | 1).to_bytes(3, "little") + octets
    return b"\x28\xb5\x2f\xfd\xa0" + len(octets).to_bytes(4, "little") + block


CODED = {"gzip.txt.gz": gzip.compress, "br.txt.br": _brotli, "zstd.txt.zst": _zstandard}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clients") / "root"
    root.mkdir()
    (root / "index.html").write_text("<!doctype html>\n<title>Home</title>\n")
    (root / "large.bin").write_bytes(LARGE)
    for name, code in CODED.items():
        (root / name).with_suffix("").write_bytes(TEXT)
        (root / name).write_bytes(code(TEXT))
    for path in root.iterdir():
        os.utime(path, (MODIFIED, MODIFIED))
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(root, tmp_path_factory.mktemp("log") / "access.log") as running:
        yield running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start servers that end with the test."""
    with ExitStack() as servers:

        def start(root: Path, *options: str, **limits: int) -> Running:
            log = tmp_path / f"access-{root.name}.log"
            return servers.enter_context(serving(root, log, *options, **limits))

        yield start
