"""The kernel keeps the list of sockets: epoll, level-triggered."""

import select
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
        """Receive or send once, without waiting; return whether there is more to do."""
        try:
            if self.response:
                self.response = self.response[self.sock.send(self.response) :]
                return self.response != b""
            data = self.sock.recv(4096)
            self.head += data
            if b"\r\n\r\n" in self.head or len(self.head) >= MAX_HEAD:
                self.response = respond(self.head)
        except BlockingIOError:  # EAGAIN: not now
            return True
        except ConnectionError:
            return False
        return data != b""


def main() -> None:
    """Listen on a port of the command line, or on any free one."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        poller = select.epoll()
        poller.register(listener, select.EPOLLIN)
        connections: dict[int, Connection] = {}
        while True:
            for fd, _ in poller.poll():
                if fd == listener.fileno():
                    client, _ = listener.accept()
                    connections[client.fileno()] = Connection(client)
                    poller.register(client, select.EPOLLIN)
                elif not connections[fd].proceed():
                    connections.pop(fd).sock.close()
                elif connections[fd].response:
                    poller.modify(fd, select.EPOLLOUT)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
