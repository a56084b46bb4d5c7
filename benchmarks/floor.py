"""The floor: a bare uvloop Protocol that writes a fixed response and looks at nothing.

python -m benchmarks.floor ROOT PORT

The response is what aserve has sent for /1k.txt, to the byte. What a server costs above this is its
own work; the rest is the kernel's, the loop's and the interpreter's.
"""

import asyncio
import signal
import socket
import sys
from pathlib import Path

import uvloop

from benchmarks.servers import SERVERS, running

REQUEST = b"GET /1k.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
BODY = 1_024


def read_response(root: Path) -> bytes:
    """Return what aserve sends, head and body."""
    with (
        running(SERVERS["aserve"], root) as one,
        socket.create_connection(("127.0.0.1", one.port), timeout=5) as connection,
    ):
        connection.sendall(REQUEST)
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < BODY:
            if not (data := connection.recv(65_536)):
                raise SystemExit(f"aserve did not send {BODY} bytes: {received!r}")
            received += data
        return received


class Fixed(asyncio.Protocol):
    """Writes the response whenever data arrives."""

    def __init__(self, response: bytes) -> None:
        self.response = response

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport."""
        self.transport = transport

    def data_received(self, _data: bytes) -> None:
        """Write the response."""
        self.transport.write(self.response)


async def serve(response: bytes, port: int) -> None:
    """Serve on a port until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Fixed(response), "127.0.0.1", port, backlog=4_096)
    await server.serve_forever()


if __name__ == "__main__":
    # Also while aserve is asked, so that it is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    uvloop.run(serve(read_response(Path(sys.argv[1])), int(sys.argv[2])))
