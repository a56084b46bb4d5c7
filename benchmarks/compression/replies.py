"""One client that asks for files and accepts content codings, and what its responses were."""

import gzip
import http.client
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks.browser_headers import BROWSER
from benchmarks.loads import HOST
from benchmarks.processes import NoMeasurement

BROWSERS = BROWSER["Accept-Encoding"]
GZIP_ONLY = "gzip"
_TIMEOUT_S = 20.0


def brotli() -> Any:
    """Return the library for Brotli, which may be missing."""
    return import_module("brotli")


def zstd() -> Any:
    """Return the library for Zstandard, which is Python's own from 3.14 on."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "br": lambda body: bytes(brotli().decompress(body)),
    "zstd": lambda body: bytes(zstd().decompress(body)),
}


class Reply(NamedTuple):
    """A response: seconds from the request to its last byte, its status, coding and body."""

    seconds: float
    status: int
    coding: str
    body: bytes

    def require(self, content: bytes, *, coded: bool) -> None:
        """Raise NoMeasurement unless this is 200 with a file's content, and compressed if coded."""
        if self.status != http.client.OK:
            raise NoMeasurement(f"it answers with {self.status}")
        if coded and not self.coding:
            raise NoMeasurement("it does not compress")
        if self.coding not in _DECODERS:
            raise NoMeasurement(f"it sends the content coding {self.coding}")
        if _DECODERS[self.coding](self.body) != content:
            raise NoMeasurement(f"what it sends as {self.coding or 'identity'} is not the file")


class Client:
    """One connection that stays open."""

    def __init__(self, port: int, accept: str = BROWSERS) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
        self._headers = BROWSER | {"Accept-Encoding": accept}

    def __enter__(self) -> Self:
        """Connect."""
        self._connection.connect()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, folder: Path, name: str, *, coded: bool = True) -> Reply:
        """Ask for a file, and compare what comes with it.

        Raises NoMeasurement if it is something else, or not compressed where that is required.
        """
        reply = self._get(name)
        reply.require((folder / name).read_bytes(), coded=coded)
        return reply

    def _get(self, name: str) -> Reply:
        begun = time.perf_counter()
        try:
            self._connection.request("GET", f"/{name}", headers=self._headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoMeasurement(f"{name}: {error!r}") from error
        taken = time.perf_counter() - begun
        return Reply(taken, response.status, response.headers.get("Content-Encoding", ""), body)
