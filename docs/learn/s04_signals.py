"""The kernel sends a signal when a socket changes; the program does something else."""

import fcntl
import itertools
import os
import signal
import socket
import sys
from contextlib import suppress

PAGE = b"<!doctype html><title>Hello</title><h1>Hello</h1>\n"
MAX_HEAD = 8192


def respond(head: bytes) -> bytes:
    """Return the response to the head of a request."""
    status, body = "400 Bad Request", b"Not a request\n"
    match head.split(b" ", 2):
        case [b"GET", b"/", _] if b"\r\n\r\n" in head:
            status, body = "200 OK", PAGE
        case [b"GET", _, _]:
            status, body = "404 Not Found", b"Not found\n"
        case [_, _, _]:
            status, body = "501 Not Implemented", b"Only GET\n"
    headers = f"Content-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body


class Connection:
    """What the server has to remember of a client while it does something else."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock, self.head, self.response = sock, b"", b""

    def proceed(self) -> bool:
        """Receive and send until it would have to wait; return whether there is more to do."""
        try:
            while not self.response:
                data = self.sock.recv(4096)
                if not data:
                    return False
                self.head += data
                if b"\r\n\r\n" in self.head or len(self.head) >= MAX_HEAD:
                    self.response = respond(self.head)
            while self.response:
                self.response = self.response[self.sock.send(self.response) :]
        except BlockingIOError:  # EAGAIN: the kernel will tell when to go on
            return True
        except ConnectionError:
            return False
        return False


def send_signals(sock: socket.socket) -> None:
    """Have the kernel send SIGIO to this process whenever the socket changes."""
    fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sock, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)


def main() -> None:
    """Listen on a port of the command line, or on any free one."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        happened = [signal.SIGIO]  # a client may have come before the signals were asked for
        signal.signal(signal.SIGIO, lambda number, _: happened.append(number))
        send_signals(listener)
        connections: list[Connection] = []
        for step in itertools.count():  # the program's own work: it counts
            if not happened:
                continue
            happened.clear()
            print(f"a signal, after {step:,} steps of other work", flush=True)
            with suppress(BlockingIOError):  # one signal may stand for several clients
                while True:
                    connections.append(Connection(listener.accept()[0]))
                    send_signals(connections[-1].sock)
            for connection in connections[:]:
                if not connection.proceed():
                    connections.remove(connection)
                    connection.sock.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
