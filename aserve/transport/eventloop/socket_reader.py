"""Reads request bodies past the transport, in the thread that stores them."""

import os

from aserve.http.messages import BodySink

_READ_SIZE = 1 << 19  # bytes, which are still in the processor's cache when they are stored
_MAX_BYTES_PER_CALL = 1 << 22  # bytes of one upload; then others have the thread


class SocketReader:
    """Passes what a socket has on to a sink, up to the end of the body.

    It saves two copies of each byte, and the turns between the loop and a thread for each piece. It
    never waits for the client: that is the loop's part. The transport must have paused reading.
    """

    __slots__ = ("_descriptor", "_size", "bytes_read", "is_lost", "may_have_more")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = os.dup(descriptor)  # the transport may close its own at any time
        self._size = size
        self.bytes_read = 0
        self.may_have_more = False
        """Whether it stopped with bytes of the body left that may have arrived."""
        self.is_lost = False
        """Whether the connection has failed."""

    def close(self) -> None:
        """Close the descriptor. To be called once."""
        os.close(self._descriptor)

    def read_into(self, sink: BodySink) -> bool:
        """Write what there is to a sink. Return whether the body is complete. Raises HttpError."""
        stop = min(self._size, _MAX_BYTES_PER_CALL)
        while self.bytes_read < stop and (data := self._read(stop - self.bytes_read)):
            self.bytes_read += len(data)
            sink.write(data)
        self.may_have_more = self.bytes_read == stop < self._size
        return self.bytes_read == self._size

    def _read(self, size: int) -> bytes:
        """Return what has arrived; b"" for nothing, or nothing more: the loop finds out which."""
        try:
            return os.read(self._descriptor, min(size, _READ_SIZE))
        except BlockingIOError:
            return b""
        except OSError:
            self.is_lost = True
            return b""
