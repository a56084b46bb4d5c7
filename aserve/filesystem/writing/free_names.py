"""The next names to try where a name is taken: "report (1).pdf" after "report.pdf"."""

import secrets
from collections.abc import Iterator

from aserve.http.content_negotiation import CODINGS

_MAX_SIZE = 255  # bytes: NAME_MAX of Linux
_NUMBERED, _RANDOM = 100, 10
_COMPRESSED = (*CODINGS.values(), b".bz2", b".xz")


def free_names(name: bytes) -> Iterator[bytes]:
    """Yield names like one that is taken, as browsers name a second download.

    Behind the hundredth they are random: each that is taken costs a system call.
    """
    stem, suffix = _split(name)
    for number in range(1, _NUMBERED):
        yield _with_ending(stem, b" (%d)" % number + suffix)
    for _ in range(_RANDOM):
        yield _with_ending(stem, b" (%s)" % secrets.token_hex(4).encode() + suffix)


def _with_ending(stem: bytes, ending: bytes) -> bytes:
    return _shorten(stem, _MAX_SIZE - len(ending)) + ending


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Return a name's stem and its suffix with the dot; that of "a.tar.gz" is ".tar.gz"."""
    stem, dot, suffix = name.rpartition(b".")
    if not stem:
        return name, b""
    if dot + suffix.lower() in _COMPRESSED and stem[1:].lower().endswith(b".tar"):
        return stem[:-4], stem[-4:] + dot + suffix
    return stem, dot + suffix


def _shorten(stem: bytes, size: int) -> bytes:
    """Return the first bytes of a stem, and no half of a character."""
    if len(stem) <= size:
        return stem
    while size > 1 and stem[size] & 0xC0 == 0x80:
        size -= 1
    return stem[:size]
