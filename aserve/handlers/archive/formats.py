"""The formats of archives: what they are called, who makes their bytes, and how many at most.

Settings name them: what makes their bytes is imported with the first archive of a format.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from aserve.handlers.archive.layout import Layout, Member

MAX_BYTES = 10 << 30
MAX_FILES = 100_000

_ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""Zstandard of Python 3.14, and its copy for older ones."""
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
    layout: "Callable[[Sequence[Member]], Layout]"
    compressor: MakeCompressor = None


def _zip_layout(members: "Sequence[Member]") -> "Layout":
    from aserve.handlers.archive.zip_writer import ZipLayout

    return ZipLayout(members)


def _tar_layout(members: "Sequence[Member]") -> "Layout":
    from aserve.handlers.archive.tar_writer import TarLayout

    return TarLayout(members)


def _gzip() -> Compressor:
    return zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)


def _zstd() -> Compressor:
    compressor: Compressor = _import_zstd().ZstdCompressor(_LEVEL)
    return compressor


def _import_zstd() -> Any:
    return import_module(_zstd_module())


FORMATS: Mapping[str, ArchiveFormat] = {
    "zip": ArchiveFormat("application/zip", _zip_layout),
    "tar": ArchiveFormat("application/x-tar", _tar_layout),
    "tar.gz": ArchiveFormat("application/gzip", _tar_layout, _gzip),
    "tar.zst": ArchiveFormat("application/zstd", _tar_layout, _zstd),
}
"""All formats, by the name that is their parameter and their suffix."""

NEEDS_ZSTD = "tar.zst needs Python 3.14, or the package backports.zstd"


@cache
def is_available(name: str) -> bool:
    """Tell whether this Python can make a format."""
    return name != "tar.zst" or bool(_zstd_module())


def _zstd_module() -> str:
    """Return the name of the module for Zstandard, "" for none. It is found, not imported."""
    return next(filter(_is_installed, _ZSTD_MODULES), "")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package that it would be in
        return False


def compress(pieces: Iterable[bytes], compressor: Compressor) -> Iterator[bytes]:
    """Yield pieces compressed, as one stream."""
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
