"""The same loop; a line parser finds events, and a table says what may follow."""

import select
import socket
import sys
from contextlib import suppress

PAGE = b"<!doctype html><title>Hello</title><h1>Hello</h1>\n"
MAX_LINE = 8192
TABLE = """   LINE     EMPTY_LINE    BAD_LINE  SENT    ENDED
REQUEST_LINE  HEADERS  REQUEST_LINE  SENDING   -       CLOSED
HEADERS       HEADERS  SENDING       SENDING   -       CLOSED
SENDING       -        -             -         CLOSED  CLOSED"""
EVENTS, *ROWS = map(str.split, TABLE.splitlines())
NEXT = {(s, e): to for s, *row in ROWS for e, to in zip(EVENTS, row, strict=True) if to != "-"}


def take_line(buffer: bytearray) -> tuple[str, bytes] | None:
    """Cut a line off the buffer; return the event and the line, None while it is open."""
    line, newline, rest = buffer.partition(b"\n")
    if not newline and len(line) < MAX_LINE:
        return None
    buffer[:] = rest
    if line.find(b"\r", 0, -1) >= 0 or not line.endswith(b"\r"):
        return "BAD_LINE", b""
    return ("LINE" if line != b"\r" else "EMPTY_LINE"), bytes(line[:-1])


def respond(request_line: bytes) -> bytes:
    """Return the response to a request."""
    status, body = "400 Bad Request", b"Not a request\n"
    match request_line.split(b" "):
        case [b"GET", b"/", _]:
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
        self.sock, self.state, self.buffer, self.response = sock, "REQUEST_LINE", bytearray(), b""

    def move(self, event: str, line: bytes = b"") -> None:
        """Go to the state that the table names; a pair that it lacks is a KeyError."""
        if self.state == "REQUEST_LINE" or event == "BAD_LINE":
            self.response = respond(line)
        self.state = NEXT[self.state, event]

    def proceed(self) -> bool:
        """Receive or send once, without waiting; return whether there is more to do."""
        try:
            if self.state == "SENDING":
                self.response = self.response[self.sock.send(self.response) :]
                if not self.response:
                    self.move("SENT")
            else:
                data = self.sock.recv(4096)
                self.buffer += data
                while self.state != "SENDING" and (found := take_line(self.buffer)):
                    self.move(*found)
                if not data:
                    self.move("ENDED")
        except BlockingIOError:  # EAGAIN: not now
            pass
        except ConnectionError:
            self.move("ENDED")
        return self.state != "CLOSED"


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
                elif connections[fd].state == "SENDING":
                    poller.modify(fd, select.EPOLLOUT)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
