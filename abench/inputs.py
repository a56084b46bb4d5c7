"""What options have read from: files, and streams that can be read only once."""

import sys
from functools import lru_cache
from pathlib import Path

from abench.errors import ParameterError


def read(option: str, path: str) -> bytes:
    """Return all that is in `path`, `-` for standard input; raises ParameterError.

    A pipe or a terminal has its bytes once: who asks for them again gets the same.
    """
    try:
        if path == "-":
            return _standard_input()
        return Path(path).read_bytes() if _is_kept(path) else _stream(path, _identity(path))
    except OSError as error:
        raise ParameterError(option, f"{path}: {(error.strerror or str(error)).lower()}") from None


def _is_kept(path: str) -> bool:
    return Path(path).is_file() or Path(path).is_dir()


def _identity(path: str) -> tuple[int, int]:
    """Return what tells a stream from another one that has come to the same path."""
    status = Path(path).stat()
    return status.st_dev, status.st_ino


@lru_cache(maxsize=8)
def _stream(path: str, _identity: tuple[int, int]) -> bytes:
    return Path(path).read_bytes()


@lru_cache(maxsize=1)
def _standard_input() -> bytes:
    if sys.stdin is None:
        raise OSError("standard input is closed")
    return sys.stdin.buffer.read()
