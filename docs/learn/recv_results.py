"""All that recv can return: n, 0, and -1 for three reasons."""

import ctypes
import errno
import signal
import socket
import struct

LIBC = ctypes.CDLL(None, use_errno=True)  # Python itself turns -1 into exceptions


def recv(sock: socket.socket) -> str:
    """Call recv of C; return what it returns, and errno."""
    count = LIBC.recv(sock.fileno(), ctypes.create_string_buffer(100), 100, 0)
    return f"{count}" if count >= 0 else f"{count} {errno.errorcode[ctypes.get_errno()]}"


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return client, listener.accept()[0]


def main() -> None:
    """Show each result."""
    client, server = tcp_pair()
    with client, server:
        client.send(b"hello")
        print("5 bytes have arrived:     ", recv(server))
        server.setblocking(False)
        print("no data, non-blocking:    ", recv(server))
        server.setblocking(True)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)  # again and again: one hits the call
        print("no data, a signal comes:  ", recv(server))
        signal.setitimer(signal.ITIMER_REAL, 0)
        client.shutdown(socket.SHUT_WR)
        print("the client has closed:    ", recv(server))
    client, server = tcp_pair()
    with server:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # because of SO_LINGER a reset, and no orderly end
        print("the client has reset it:  ", recv(server))


if __name__ == "__main__":
    main()
