"""End a TCP connection with RST while another thread waits in a call on its socket."""

import socket
import struct
from contextlib import suppress

from aserve.linux.libc import libc

_UNSPECIFIED = struct.pack("H14x", socket.AF_UNSPEC)  # a sockaddr


def reset_connection(sock: socket.socket) -> None:
    """Dissolve a connection: RST is sent, and every call that waits on its socket returns.

    connect(2) with AF_UNSPEC does that, and close does not: a read or write that has begun keeps
    the connection until it returns. Where it is refused (Linux 6.4 to 6.6, other than TCP), the
    connection is shut down: the calls return as well, and FIN may arrive before RST.
    """
    if libc.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)) < 0:
        with suppress(OSError):  # it is dissolved already
            sock.shutdown(socket.SHUT_RDWR)
