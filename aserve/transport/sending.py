"""What is left of a response after a part of it was sent."""

import os

from aserve.http.messages import BodyPart, BodyStream, FileSlice, SizedPart


def skip_bytes(part: SizedPart, count: int) -> SizedPart:
    """Return a part without its first count bytes."""
    if isinstance(part, FileSlice):
        return FileSlice(part.source, part.start + count, part.stop)
    return part[count:]


def send_file_slice(descriptor: int, part: FileSlice, max_bytes: int) -> int:
    """Send at most max_bytes of a file to a socket, and return how many the socket took.

    Raises EOFError if the file has become shorter than its part, and what os.sendfile raises.
    """
    size = min(part.stop - part.start, max_bytes)
    count = os.sendfile(descriptor, part.source.fileno(), part.start, size)
    if not count:
        raise file_ended(part)
    return count


def file_ended(part: FileSlice) -> EOFError:
    """Return the error for a file that has become shorter than its part."""
    return EOFError(f"the file ended {len(part)} bytes early")


def joins(following: BodyPart | None) -> bool:
    """Return whether a part is sent in one segment with the one that follows it.

    Not with a stream: the kernel would hold the part back, for 200 ms, until the stream has more.
    """
    return following is not None and not isinstance(following, BodyStream)
