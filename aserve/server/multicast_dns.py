"""Whether this machine is found by a name in its network: multicast DNS (RFC 6762)."""

import os
import socket
import struct
import time
from collections.abc import Collection

GROUP = ("224.0.0.251", 5353)
"""The address of all that answer (section 3)."""

TIMEOUT_S = 0.3
"""A program on this machine answers at once: its own name belongs to no other (section 6)."""

_HEADER = struct.Struct("!HHHHHH")  # id, flags, numbers of questions, answers, others (RFC 1035)
_QUESTION = struct.pack("!HH", 1, 1)  # an address of IPv4, in the Internet
_IS_RESPONSE, _ERROR = 0x8000, 0x000F
_MAX_MESSAGE = 9_000  # bytes (section 17)


def is_announced(
    name: str,
    addresses: Collection[str],
    group: tuple[str, int] = GROUP,
    timeout: float = TIMEOUT_S,
) -> bool:
    """Tell whether a program of this machine answers for a name.

    name: as "host.local". addresses: those of this machine in IPv4, the first one of the network
    that is asked. It sends one packet, which no router passes on, and waits for timeout seconds at
    most. An answer for the same name from another machine is none.
    """
    asked, message = _query(name)
    until = time.monotonic() + timeout
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            interface = socket.inet_aton(next(iter(addresses)))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            # From a port of its own: the answer comes to that port alone (section 6.7).
            sock.sendto(message, group)
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                answer, (host, _) = sock.recvfrom(_MAX_MESSAGE)
                if host in addresses and _is_answer(answer, asked):
                    return True
        except OSError:  # nothing has answered, or there is no network
            pass
    return False


def _query(name: str) -> tuple[int, bytes]:
    """Return the id of a query for an address, and the query."""
    number = int.from_bytes(os.urandom(2))
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return number, _HEADER.pack(number, 0, 1, 0, 0, 0) + labels + b"\0" + _QUESTION


def _is_answer(message: bytes, asked: int) -> bool:
    if len(message) < _HEADER.size:
        return False
    number, flags, _, answers, _, _ = _HEADER.unpack_from(message)
    return number == asked and bool(flags & _IS_RESPONSE) and not flags & _ERROR and answers > 0
