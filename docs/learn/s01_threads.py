"""A thread for each connection."""

import socket
import sys
import threading
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


def serve(client: socket.socket) -> None:
    """Read a request, and answer it."""
    head = b""
    with client, suppress(ConnectionError):
        while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
            data = client.recv(4096)
            if not data:
                return
            head += data
        client.sendall(respond(head))


def main() -> None:
    """Listen on a port of the command line, or on any free one."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
