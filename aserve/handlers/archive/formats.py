"""The formats of archives: what they are called, and who makes their bytes."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from aserve.handlers.archive.layout import Layout, Member
from aserve.handlers.archive.tar_writer import TarLayout
from aserve.handlers.archive.zip_writer import ZipLayout

_LEVEL = 1
"""The fastest level, of both compressors: for most clients the network is faster than the next."""


class Compressor(Protocol):
    """Compresses a stream, as an object of zlib does."""

    def compress(self, data: bytes, /) -> bytes:
        """Take the next bytes, and return what is ready."""

    def flush(self) -> bytes:
        """Return the rest."""


MakeCompressor = Callable[[], Compressor] | None
"""Makes what the bytes of an archive pass through; None: they stay as they are."""


class ArchiveFormat(NamedTuple):
    """A format of archives. Only one that is not compressed has a length before it is made."""

    media_type: str
    layout: Callable[[Sequence[Member]], Layout]
    compressor: MakeCompressor = None


def _gzip() -> Compressor:
    return zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)


def _zstd() -> Compressor:
    compressor: Compressor = _import_zstd().ZstdCompressor(_LEVEL)
    return compressor


def _import_zstd() -> Any:
    """Return the module for Zstandard: of Python 3.14, or its copy for older ones."""
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")


FORMATS: Mapping[str, ArchiveFormat] = {
    "zip": ArchiveFormat("application/zip", ZipLayout),
    "tar": ArchiveFormat("application/x-tar", TarLayout),
    "tar.gz": ArchiveFormat("application/gzip", TarLayout, _gzip),
    "tar.zst": ArchiveFormat("application/zstd", TarLayout, _zstd),
}
"""All formats, by the name that is their parameter and their suffix."""

NEEDS_ZSTD = "tar.zst needs Python 3.14, or the package backports.zstd"


@cache
def is_available(name: str) -> bool:
    """Tell whether this Python can make a format."""
    if name != "tar.zst":
        return True
    try:
        _import_zstd()
    except ImportError:
        return False
    return True


def compress(pieces: Iterable[bytes], compressor: Compressor) -> Iterator[bytes]:
    """Yield pieces compressed, as one stream."""
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
