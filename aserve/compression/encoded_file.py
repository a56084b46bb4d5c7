"""One coding of one state of a file: what tells it from others, and how it is made."""

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from aserve.compression.codecs import compressor, library_version
from aserve.compression.worthwhile import MAX_RATIO, PACKED_BEGINNINGS
from aserve.filesystem.memory_content import MemoryContent
from aserve.http.content_negotiation import CODINGS

_TAG = re.compile(rf"-(?:{'|'.join(CODINGS)})-[0-9]+-[0-9a-z.]+\"")  # as tag_of makes it
_CHUNK_SIZE = 256 << 10  # bytes that are compressed in one call, which releases the interpreter


class EncodedFile(NamedTuple):
    """What a file is in a coding.

    content: None if that is not worth sending (MAX_RATIO). is_final: no smaller one is made of it.
    """

    coding: str
    level: int
    content: MemoryContent | None
    is_final: bool = False


def tag_of(coding: str, level: int) -> str:
    """Return what the entity tag of a file in a coding adds to that of the file.

    Equal tags mean equal bytes (RFC 9110 section 8.8.1), on other machines as well.
    """
    return f"-{coding}-{level}-{library_version(coding, level)}"


def without_codings(tags: str) -> str:
    """Return entity tags of files in place of those of the files in any coding."""
    return _TAG.sub('"', tags)


def encode_file(
    descriptor: int, coding: str, level: int, is_stopped: Callable[[], bool]
) -> bytes | None:
    """Return the content of an open file in a coding, None if that is not worth sending.

    It is given up after the first chunk that is not. May wait for the disk. Raises OSError, and
    InterruptedError once is_stopped says so.
    """
    encoder, parts, before, after = compressor(coding, level), [], 0, 0
    for chunk in _chunks(descriptor):
        if is_stopped():
            raise InterruptedError
        if not before and chunk.startswith(PACKED_BEGINNINGS):
            return None
        before += len(chunk)
        parts.append(encoder.compress(chunk))
        after += len(parts[-1])
        if after > before * MAX_RATIO:
            return None
    parts.append(encoder.flush())
    return b"".join(parts) if after + len(parts[-1]) < before * MAX_RATIO else None


def _chunks(descriptor: int) -> Iterator[bytes]:
    start = 0
    while chunk := os.pread(descriptor, _CHUNK_SIZE, start):
        yield chunk
        start += len(chunk)
