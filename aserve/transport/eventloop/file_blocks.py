"""Reads a file block by block in a thread, so that it is never in memory as a whole."""

from collections.abc import AsyncGenerator
from concurrent.futures import Executor

from aserve.http.messages import FileSlice
from aserve.transport.sending import file_ended

_BLOCK_SIZE = 262_144  # bytes; not tuned yet: each block is one hop to a thread


async def read_blocks(part: FileSlice, executor: Executor) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of a part of a file in order.

    Raises EOFError if the file has become shorter than its part, OSError if it cannot be read.
    """
    from aiofiles.threadpool import wrap  # noqa: PLC0415 - 14 ms at start-up, and rarely needed

    with open(part.source.fileno(), "rb", buffering=0, closefd=False) as raw:  # noqa: ASYNC230 - the descriptor is open already
        raw.seek(part.start)
        file = wrap(raw, executor=executor)
        missing = len(part)
        while missing:
            block = await file.read(min(_BLOCK_SIZE, missing))
            if not block:
                raise file_ended(FileSlice(part.source, part.stop - missing, part.stop))
            missing -= len(block)
            yield block
