"""Bandwidth that the kernel limits: it sends what was written to a socket as slowly as it is told.

So nothing in this program waits or has a timer, in any I/O model, with TLS or without.
"""

import socket
import sys
from collections.abc import Iterable

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h: bytes per second, of 8 bytes since Linux 4.20
_UNLIMITED = (1 << 64) - 1

# A queue of a second in the kernel: a connection is written to twice a second, and closes a second
# after its last write. Without a limit it is megabytes (tcp_wmem).
_QUEUED_S = 1

LARGEST_SEGMENT = 1 << 16
"""Bytes that the kernel takes at once, however low the bandwidth is."""

# The kernel sends pieces of 10 to 16 segments, of which the first one is not paced: on the loopback
# interface, where a segment may have 64 KiB, all that most responses have.
_PIECES_PER_SECOND = 10
_SEGMENTS_PER_PIECE = 16
_MIN_SEGMENT_SIZE, _MAX_SEGMENT_SIZE = 256, 1_460  # the latter is that of Ethernet


def limit_bandwidth(listeners: Iterable[socket.socket], bandwidth: int) -> None:
    """Have all connections that listeners accept from now on send at most so fast, each of them.

    bandwidth: bytes per second, 0 for no limit. A socket has the options of its listener. Those of
    Unix sockets have no limit: nothing is sent over a network.
    """
    rate = bandwidth or _UNLIMITED
    for listener in listeners:
        if listener.family != socket.AF_UNIX and _rate_of(listener) != rate:
            listener.setsockopt(
                socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate.to_bytes(8, sys.byteorder)
            )
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, bandwidth * _QUEUED_S)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _segment_size(bandwidth))


def _segment_size(bandwidth: int) -> int:
    """Return the size of segments, with which ten pieces a second are sent; 0: the system's."""
    if not bandwidth:
        return 0
    wanted = bandwidth // (_PIECES_PER_SECOND * _SEGMENTS_PER_PIECE)
    return min(max(wanted, _MIN_SEGMENT_SIZE), _MAX_SEGMENT_SIZE)


def unavailable_reason() -> str:
    """Return why this system cannot limit bandwidth, "" if it can."""
    try:
        with socket.socket() as probe:
            limit_bandwidth([probe], 1 << 20)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _rate_of(listener: socket.socket) -> int:
    value = listener.getsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, 8)
    return int.from_bytes(value, sys.byteorder)
