"""How long caches may use a file without asking: Cache-Control (RFC 9111 section 5.2.2)."""

from collections.abc import Callable
from functools import lru_cache

from aserve.http.fingerprints import is_fingerprinted
from aserve.http.messages import Header
from aserve.http.request_target import TargetPath

NO_CACHE = ("Cache-Control", "no-cache")
"""It may be stored, but is validated before each use: never stale, and cheap with 304."""

IMMUTABLE = ("Cache-Control", "max-age=31536000, immutable")
"""It never changes, so even a reload of a page need not ask (RFC 8246)."""

CacheControl = Callable[[TargetPath], Header]
"""Returns the Cache-Control of the file at a path."""


@lru_cache(maxsize=256)  # a page asks for the same names again and again
def by_name(path: TargetPath) -> Header:
    """Return immutable for a name that has a hash of its file in it; any other is validated."""
    is_immutable = not path.is_directory and is_fingerprinted(path.segments)
    return IMMUTABLE if is_immutable else NO_CACHE


def for_seconds(seconds: int) -> CacheControl:
    """Return the same for every file: it may be used for some seconds."""
    header = ("Cache-Control", f"max-age={seconds}")
    return lambda _path: header


def unless(is_writable: Callable[[TargetPath], bool], inner: CacheControl) -> CacheControl:
    """Return what validates files that clients may replace, whatever their names are."""
    return lambda path: NO_CACHE if is_writable(path) else inner(path)
