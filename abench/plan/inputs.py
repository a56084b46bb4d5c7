"""The files and streams that options read from; a stream can be read only once."""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from abench.errors import ParameterError

BLOCK_SIZE = 1 << 18  # bytes of lines at once: what is made of them stays in the CPU's caches

_GZIP = b"\x1f\x8b\x08"  # its two identifying bytes, and deflate

Identity = tuple[int, int]
"""Device and inode: the same for all names of a stream, as /dev/stdin, - and /dev/fd/0."""

_options_by_input: dict[Identity, str] = {}


def read(option: str, path: str) -> bytes:
    """Return the content of `path`, `-` for standard input; raises ParameterError.

    A pipe or a terminal can be read only once: a second call returns the same bytes.
    """
    with errors_named(option, path):
        record_input(option, path)
        stream = identity(path)
        return _read_all(path) if stream is None else _read_stream(stream, path)


def chunks(option: str, path: str, *, keep: bool = False) -> Iterator[bytes]:
    """Yield the content of `path`, decompressed if it begins as gzip does (RFC 1952 section 2.3.1).

    Raises ParameterError. With `keep`, the content of a stream is kept for a second call.
    """
    with errors_named(option, path):
        record_input(option, path)
        stream = identity(path) if keep else None
        with _open(path) if stream is None else io.BytesIO(_read_stream(stream, path)) as file:
            beginning = file.read(BLOCK_SIZE)
            if beginning.startswith(_GZIP):
                yield from _decompressed(_Rejoined(beginning, file))
                return
            while beginning:
                yield beginning
                beginning = file.read(BLOCK_SIZE)


def blocks(option: str, path: str, *, keep: bool) -> Iterator[bytes]:
    """Yield the `chunks` of a file in blocks of whole lines, without the LF or CR LF at their end.

    Raises ParameterError. With `keep`, the content of a stream is kept for a second call.
    """
    return lines(chunks(option, path, keep=keep))


def record_input(option: str, path: str) -> None:
    """Record that an option reads from `path`, so that it is never overwritten. Raises OSError."""
    _options_by_input[_identity(path)] = option


def option_reading(path: Path) -> str | None:
    """Return the option that reads from the file at `path`."""
    try:
        return _options_by_input.get(_identity(str(path)))
    except OSError:
        return None


def clear_inputs() -> None:
    """Forget the recorded inputs, before another command line."""
    _options_by_input.clear()


@contextmanager
def errors_named(option: str, path: str) -> Iterator[None]:
    """Turn errors about `path` into a ParameterError of one line."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(option, f"{path}: {reason.lower()}" if path else reason) from None


def identity(path: str) -> Identity | None:
    """Return the identity of a stream; None for a file, which can be read again. Raises OSError."""
    mode = _status(path).st_mode
    if path != "-" and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return None
    return _identity(path)


def _identity(path: str) -> Identity:
    status = _status(path)
    return status.st_dev, status.st_ino


def _status(path: str) -> os.stat_result:
    if not path:
        raise ValueError("the name of a file is missing")
    return os.fstat(_standard_input().fileno()) if path == "-" else Path(path).stat()


@lru_cache(maxsize=8)
def _read_stream(_stream: Identity, path: str) -> bytes:
    return _read_all(path)


def _read_all(path: str) -> bytes:
    with _open(path) as file:
        return file.read()


@contextmanager
def _open(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield _standard_input()
        return
    with Path(path).open("rb") as file:
        yield file


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer


class _Rejoined(io.RawIOBase):
    """A file whose beginning has been read."""

    def __init__(self, beginning: bytes, rest: BinaryIO) -> None:
        self._beginning, self._rest = beginning, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._beginning:
            return self._rest.read(size)
        end = len(self._beginning) if size < 0 else size
        read, self._beginning = self._beginning[:end], self._beginning[end:]
        return read


def _decompressed(file: io.RawIOBase) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as content:
            while chunk := content.read(BLOCK_SIZE):
                yield chunk
    except (EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise ValueError(f"its gzip data is damaged: {error}") from None


def lines(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks that end at the end of a line; a lone CR ends a line, too."""
    parts: list[bytes] = []  # of a line that has not ended
    for chunk in content:
        whole, end, partial = chunk.rpartition(b"\n")
        if end:
            yield _without_cr(b"".join((*parts, whole)))
            parts = [partial]
        else:
            parts.append(chunk)
    if rest := b"".join(parts):
        yield _without_cr(rest)


def _without_cr(block: bytes) -> bytes:
    if b"\r" not in block:
        return block
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
