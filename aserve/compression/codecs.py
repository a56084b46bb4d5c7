"""The content codings that this Python can produce, and their compressors."""

import sys
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from aserve.http.content_negotiation import CODINGS


class Compressor(Protocol):
    """Compresses a stream, and releases the interpreter meanwhile."""

    def compress(self, data: bytes, /) -> bytes:
        """Take some bytes, and return what is compressed by now."""
        ...

    def flush(self) -> bytes:
        """Return the rest, with the end of the stream."""
        ...


class _Brotli:
    """Brotli's compressor with the method names of the others."""

    def __init__(self, level: int) -> None:
        compressor = import_module("brotli").Compressor(quality=level)
        self.compress: Callable[[bytes], bytes] = compressor.process
        self.flush: Callable[[], bytes] = compressor.finish


_GZIP_HEADER = 16
"""What zlib adds to the window's bits to write a gzip stream, whose header then has no time."""
_MAX_ZSTD_WINDOW_LOG = 23
"""8 MiB: a client may refuse more (RFC 9659 section 3)."""
_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
_MODULES = {"br": "brotli", "zstd": _ZSTD}

FAST_LEVELS: Mapping[str, int] = {"zstd": 3, "br": 4, "gzip": 4}
"""For a client that waits. 1 MB of JSON takes 4, 12 and 7 ms, gzip 10 ms without zlib-ng, and
becomes about a fifth of its size."""
BEST_LEVELS: Mapping[str, int] = {"br": 11, "zstd": 19, "gzip": 9}
"""The smallest result of each coding, whatever time it takes."""
BEST_LEVEL_S: Mapping[str, float] = {"gzip": 0.05, "zstd": 0.5, "br": 2}
"""How many seconds the best levels take for 1 MB of JSON."""


def is_available(coding: str) -> bool:
    """Tell whether the library that a coding needs is installed."""
    package = _MODULES.get(coding, "zlib").partition(".")[0]
    if find_spec(package) is None:
        return False
    return coding not in _MODULES or find_spec(_MODULES[coding]) is not None


def available_codings() -> tuple[str, ...]:
    """Return the codings that can be produced, in the order of CODINGS."""
    return tuple(filter(is_available, CODINGS))


@cache
def library_version(coding: str, level: int) -> str:
    """Return the version of the library that an available coding is made by.

    Another version may make other bytes of the same content at the same level.
    """
    if coding == "br":
        return str(import_module("brotli").__version__)
    if coding == "zstd":
        return str(import_module(_ZSTD).zstd_version)
    return str(getattr(_zlib(level), "ZLIBNG_VERSION", zlib.ZLIB_RUNTIME_VERSION))


def compressor(coding: str, level: int) -> Compressor:
    """Return a new compressor of an available coding."""
    return _MAKERS[coding](level)


def _zstd(level: int) -> Any:
    zstd = import_module(_ZSTD)
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: level, parameter.checksum_flag: 1}
    if level > 16:  # below, no level of zstd has a larger window
        options[parameter.window_log] = _MAX_ZSTD_WINDOW_LOG
    return zstd.ZstdCompressor(options=options)


def _gzip(level: int) -> Compressor:
    made: Compressor = _zlib(level).compressobj(level, wbits=_GZIP_HEADER + zlib.MAX_WBITS)
    return made


@cache
def _zlib(level: int) -> Any:
    """Return zlib-ng for the fast level if it is there: in 7 instead of 10 ms 6 % fewer bytes.

    Its best level is no better than zlib's.
    """
    if level == FAST_LEVELS["gzip"] and find_spec("zlib_ng"):
        return import_module("zlib_ng.zlib_ng")
    return zlib


_MAKERS: Mapping[str, Callable[[int], Compressor]] = {"br": _Brotli, "zstd": _zstd, "gzip": _gzip}
