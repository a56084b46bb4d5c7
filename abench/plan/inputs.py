"""What options have read from: files, and streams that can be read only once."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from abench.errors import ParameterError

BLOCK_SIZE = 1 << 18  # as many bytes of lines at once as keep what is made of them in the caches

Identity = tuple[int, int]
"""What tells a stream from another one, whatever it is called: /dev/stdin, -, /dev/fd/0."""

_sources: dict[Identity, str] = {}


def read(option: str, path: str) -> bytes:
    """Return all that is in `path`, `-` for standard input; raises ParameterError.

    A pipe or a terminal has its bytes once: who asks for them again gets the same.
    """
    with errors_named(option, path):
        record_input(option, path)
        stream = identity(path)
        return _read_all(path) if stream is None else _read_stream(stream, path)


def blocks(option: str, path: str, *, keep: bool) -> Iterator[bytes]:
    """Yield what is in `path` in blocks of whole lines, without their LF or CR LF at the end.

    Raises ParameterError. With `keep`, a stream's are kept for whoever asks for them again.
    """
    with errors_named(option, path):
        record_input(option, path)
        stream = identity(path) if keep else None
        with _open(path) if stream is None else BytesIO(_read_stream(stream, path)) as file:
            yield from _lines(file)


def record_input(option: str, path: str) -> None:
    """Take note that an option reads from `path`: nothing is written over it. Raises OSError."""
    _sources[_identity(path)] = option


def option_reading(path: Path) -> str | None:
    """Return the option that reads from the file at `path`."""
    try:
        return _sources.get(_identity(str(path)))
    except OSError:
        return None


def clear_inputs() -> None:
    """Forget what was noted: another command line begins."""
    _sources.clear()


@contextmanager
def errors_named(option: str, path: str) -> Iterator[None]:
    """Say in a line what is wrong with `path`."""
    try:
        yield
    except (OSError, ValueError) as error:  # the latter of a NUL
        why = getattr(error, "strerror", None) or str(error)
        raise ParameterError(option, f"{path}: {why.lower()}" if path else why) from None


def identity(path: str) -> Identity | None:
    """Return what a stream is known by; None of a file, which can be read again. Raises OSError."""
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


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield blocks that end where a line does; a lone CR ends one, too."""
    rest = b""
    while block := file.read(BLOCK_SIZE):
        whole, end, begun = block.rpartition(b"\n")
        if end:
            yield _without_cr(rest + whole)
            rest = begun
        else:
            rest += block
    if rest:
        yield _without_cr(rest)


def _without_cr(block: bytes) -> bytes:
    if b"\r" not in block:
        return block
    return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
