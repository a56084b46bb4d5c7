"""What the clients of a trace do: connect, send, read, close, with a pause between."""

import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select

from aserve.config.settings import SettingsError
from aserve.explain.events import Activity, TraceEvent, client_id
from aserve.explain.phrase import Phrase

HOST = "127.0.0.1"
BIG = 8 << 20  # bytes: more than the buffers of two sockets hold
MAX_CLIENTS = 4
_CONNECTIONS = Path("/proc/net/tcp")  # proc(5)
_UPLOAD = 10_000  # bytes: arrive in one piece, as most files of this size do
_TIMEOUT_S = 30.0
_PATIENCE_S = 2.0  # then a client that has its response closes, so that another gets its turn
_SMALL_BUFFER = 4_096  # bytes, of a slow reader's socket; the kernel doubles it
_FIRST_READ = 16_384  # bytes that a slow reader takes before it pauses


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is asked for, and how.

    clients: how many connections at once; pipeline: each sends two requests before it reads;
    big: the file is 8 MiB; slow_reader: the clients pause while they read; cold: the files are not
    in the kernel's page cache; again: the response is in the server's cache. upload: the clients
    store a file by PUT, with which of the others only clients, pipeline and big go.
    """

    clients: int = 1
    pipeline: bool = False
    big: bool = False
    slow_reader: bool = False
    cold: bool = False
    again: bool = False
    upload: bool = False

    def __post_init__(self) -> None:
        """Check the number of clients, and that no option is without effect."""
        if not 1 <= self.clients <= MAX_CLIENTS:
            raise SettingsError("--clients", f"must be from 1 to {MAX_CLIENTS}")
        for option in ("slow_reader", "cold", "again") if self.upload else ():
            if getattr(self, option):
                raise SettingsError(_option(option), "has no effect on --upload")

    @property
    def settings(self) -> dict[str, object]:
        """The settings that its server needs, as keyword arguments that JSON can have."""
        return {"write": ["/"]} if self.upload else {}

    @property
    def method(self) -> str:
        """The method of its requests."""
        return "PUT" if self.upload else "GET"

    def request(self, target: str) -> bytes:
        """Return a request for a target, with its body."""
        if not self.upload:
            return request_of(target)
        size = BIG if self.big else _UPLOAD
        head = f"PUT {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n"
        return head.encode() + content(size)

    @property
    def options(self) -> str:
        """The options of the command line that ask for this."""
        clients = f"--clients {self.clients}" if self.clients > 1 else ""
        flags = ("pipeline", "big", "slow_reader", "cold", "again", "upload")
        names = [_option(name) for name in flags if getattr(self, name)]
        return " ".join(filter(None, [clients, *names]))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def content(size: int) -> bytes:
    """Return the content of a file of a size, in bytes."""
    line = b"The quick brown fox jumps over the lazy dog.\n"
    return (line * (size // len(line) + 1))[:size]


def request_of(target: str) -> bytes:
    """Return the head of a request for a target."""
    return f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


class Client:
    """One connection, and what happened on it. number: from 0 on."""

    def __init__(self, number: int, port: int, *, is_slow: bool) -> None:
        self.events: list[TraceEvent] = []
        self._thread = client_id(number)
        self._received = bytearray()
        self._server_port = port
        self._socket = socket.socket()
        self._socket.settimeout(_TIMEOUT_S)
        if is_slow:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        self._socket.bind((HOST, 0))  # so that its port is known before it connects
        self._port = self._socket.getsockname()[1]
        self._note(Phrase("connects"), Activity.CONNECT)
        self._socket.connect((HOST, port))

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._socket.fileno()

    def send(self, request: bytes, copies: int = 1) -> None:
        """Send a request, or several in one piece."""
        data = request * copies
        one, many = (
            "sends {count:,} bytes: {line}",
            "sends {count:,} bytes, two requests at once: {line}",
        )
        what: dict[str, str | int] = {"count": len(data), "line": _first_line(request)}
        self._note(Phrase(one if copies == 1 else many, what), Activity.SEND)
        self._socket.sendall(data)

    def receive_part(self) -> None:
        """Receive the beginning of a response."""
        while len(self._received) < _FIRST_READ:
            self._fill(_FIRST_READ - len(self._received))
        what: dict[str, str | int] = {"count": len(self._received)}
        text = "receives the first {count:,} bytes, and reads no more for now"
        self._note(Phrase(text, what), Activity.PAUSE)

    def resume(self) -> None:
        """Say that it reads on."""
        self._note(Phrase("reads on"), Activity.RESUME)

    def receive(self) -> tuple[str, int]:
        """Receive the rest of a response. Return its first line, and its length in bytes."""
        while b"\r\n\r\n" not in self._received:
            self._fill()
        head = bytes(self._received).partition(b"\r\n\r\n")[0]
        length = len(head) + 4 + _content_length(head)
        while len(self._received) < length:
            self._fill()
        del self._received[:length]
        status = _first_line(head)
        what: dict[str, str | int] = {"count": length, "status": status}
        self._note(Phrase("receives {count:,} bytes: {status}", what), Activity.RECEIVE)
        return status, length

    def close(self) -> None:
        """Close the connection. Calling it again has no effect."""
        if self._socket.fileno() >= 0:
            self._note(Phrase("closes"), Activity.CLOSE)
            self._socket.close()

    def wait_closed(self) -> None:
        """Wait until the server has closed its end, as the last thing it does; no procfs, no wait.

        The state of the server's end is no longer listed then, or the client's is TIME_WAIT, 06.
        """
        ends = re.compile(rf":{self._server_port:04X} \w+:{self._port:04X} (?!06)")
        deadline = time.monotonic() + _TIMEOUT_S
        with suppress(FileNotFoundError):
            while ends.search(_CONNECTIONS.read_text()) and time.monotonic() < deadline:
                time.sleep(0.01)

    def _fill(self, limit: int = 65_536) -> None:
        data = self._socket.recv(limit)
        if not data:
            reason = "the server closed the connection without a response"
            raise SettingsError("PATH", reason)
        self._received += data

    def _note(self, phrase: Phrase, activity: Activity) -> None:
        now = time.time()
        self.events.append(
            TraceEvent(now, self._thread, phrase, activity, started_at=now, peer=self._port)
        )


def play(
    port: int,
    target: str,
    scenario: Scenario,
    settle: Callable[[], None],
    *,
    is_deferred: bool = False,
) -> tuple[list[TraceEvent], str]:
    """Let the clients of a scenario ask. Return their events and the last status line.

    settle: called where all clients pause, until the server has done all that it can do.
    is_deferred: it is told of a connection only with its first data.
    """
    request, copies = scenario.request(target), 1 + scenario.pipeline
    clients: list[Client] = []
    with ExitStack() as stack:
        for number in range(scenario.clients):
            client = Client(number, port, is_slow=scenario.slow_reader)
            stack.callback(client.close)
            clients.append(client)
        if not is_deferred:
            settle()
        for client in clients:
            client.send(request, copies)
        if scenario.slow_reader:
            for client in clients:
                client.receive_part()
            settle()
            for client in clients:
                client.resume()
        status = _receive_all(clients, copies)
        settle()
        _close_all(clients)
    settle()
    events = [event for client in clients for event in client.events]
    return sorted(events, key=lambda event: event.at), status


def _close_all(clients: Sequence[Client]) -> None:
    for client in clients:
        client.close()
    for client in clients:
        client.wait_closed()


def _receive_all(clients: Sequence[Client], copies: int) -> str:
    """Receive all responses, in the order in which they come. Return the last status line.

    A server that serves one client after the other answers the next one when the first has gone.
    """
    waiting, answered, status = list(clients), list[Client](), ""
    while waiting:
        ready, _, _ = select(waiting, (), (), _PATIENCE_S if answered else _TIMEOUT_S)
        for client in ready or tuple(answered):
            if client in waiting:
                status = [client.receive() for _ in range(copies)][-1][0]
                waiting.remove(client)
                answered.append(client)
            else:
                client.close()
        if not ready:
            if not answered:
                raise TimeoutError
            answered.clear()
    return status


def response_length(port: int, target: str) -> int:
    """Ask once, beside the trace, and return how long the response is, in bytes."""
    client = Client(0, port, is_slow=False)
    try:
        client.send(request_of(target))
        return client.receive()[1]
    finally:
        client.close()


def warm_up(port: int) -> None:
    """Have the server import what it imports for its first request."""
    with socket.create_connection((HOST, port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: explain\r\nConnection: close\r\n\r\n")
        while connection.recv(65_536):
            pass


def _first_line(data: bytes) -> str:
    return data.partition(b"\r\n")[0].decode("latin-1")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
