"""Reactor: the main thread waits and queues; workers accept, receive, respond and send."""

import queue
import select
import socket
import sys
import threading
from contextlib import suppress

PAGE = b"<!doctype html><title>Hello</title><h1>Hello</h1>\n"
MAX_HEAD = 8192
READABLE, WRITABLE = select.EPOLLIN | select.EPOLLONESHOT, select.EPOLLOUT | select.EPOLLONESHOT


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


class Server:
    """What the threads share."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener, self.poller = listener, select.epoll()
        self.poller.register(listener, READABLE)
        self.connections: dict[int, Connection] = {}
        self.requests: queue.Queue[int] = queue.Queue(maxsize=1000)

    def poll(self) -> None:
        """Put what is ready into the request queue: all that the main thread does."""
        while True:
            for fd, _ in self.poller.poll():
                self.requests.put(fd)

    def work(self) -> None:
        """Take what is ready from the request queue: what each worker does."""
        while True:
            fd = self.requests.get()
            if fd == self.listener.fileno():
                client, _ = self.listener.accept()
                self.connections[client.fileno()] = Connection(client)
                self.poller.register(client, READABLE)
                self.poller.modify(fd, READABLE)
            elif not self.connections[fd].proceed():
                self.connections.pop(fd).sock.close()
            else:  # last: from here on another worker may have this connection
                self.poller.modify(fd, WRITABLE if self.connections[fd].response else READABLE)


def main() -> None:
    """Listen on a port of the command line, or on any free one."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        server = Server(listener)
        for _ in range(4):
            threading.Thread(target=server.work, daemon=True).start()
        server.poll()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
