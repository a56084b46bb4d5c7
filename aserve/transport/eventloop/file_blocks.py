"""A large body on its way through a transport: block by block, never whole in memory."""

from collections.abc import AsyncGenerator, Iterable
from concurrent.futures import Executor

from aserve.http.messages import BodyPart

_BLOCK_SIZE = 262_144  # octets; not tuned yet: each block is one hop to a thread


async def read_blocks(
    pieces: Iterable[BodyPart], executor: Executor
) -> AsyncGenerator[bytes, None]:
    """Yield the octets of pieces in order.

    Raises EOFError where a file has become shorter than was promised, OSError where it fails.
    """
    from aiofiles.threadpool import wrap  # noqa: PLC0415 - 14 ms of start-up, for what is rare

    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        with open(piece.source.fileno(), "rb", buffering=0, closefd=False) as raw:  # noqa: ASYNC230 - nothing is opened
            raw.seek(piece.start)
            file = wrap(raw, executor=executor)
            missing = len(piece)
            while missing:
                block = await file.read(min(_BLOCK_SIZE, missing))
                if not block:
                    raise EOFError(f"the file ended {missing} octets early")
                missing -= len(block)
                yield block
