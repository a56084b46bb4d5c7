"""A load generator: `python -m benchmarks.tls.connect URL SECONDS [--resume]`.

It opens one TLS connection after the other, asks for a file on each, and closes it: with a full
handshake, or by resuming the session of the connection before. No other load generator does the
latter. It writes what it has counted as wrk's report.lua does.
"""

import argparse
import json
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

_TIMEOUT_S = 20.0
_READ_SIZE = 65_536


def main() -> None:
    """Load a server, and print what was counted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    print(json.dumps(run(options.url, options.seconds, resumes=options.resume)))


def run(
    url: str, seconds: float, *, resumes: bool, clock: Callable[[], float] = time.perf_counter
) -> dict[str, object]:
    """Connect again and again for so many seconds; return the figures of wrk's report."""
    target = urlsplit(url)
    host, port = str(target.hostname), int(target.port or 443)
    request = f"GET {target.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    context = client_context()
    session: ssl.SSLSession | None = None
    times: list[float] = []
    errors = {"connect": 0, "read": 0, "write": 0, "timeout": 0, "status": 0}
    received = 0
    begun = now = clock()
    while now < begun + seconds:
        before = now
        with (
            socket.create_connection((host, port), _TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=host, session=session) as client,
        ):
            client.sendall(request)
            reply = b"".join(iter(lambda: client.recv(_READ_SIZE), b""))
            errors["connect"] += bool(session) != client.session_reused
            session = client.session if resumes else None
        errors["status"] += not reply.startswith(b"HTTP/1.1 200 ")
        received += len(reply)
        now = clock()
        times.append(now - before)
    if resumes and session is None:
        errors["connect"] += 1
    times.sort()
    return {
        "requests": len(times),
        "seconds": now - begun,
        "received": received,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
        "max_ms": times[-1] * 1e3,
        "errors": errors,
    }


def client_context() -> ssl.SSLContext:
    """Return the context of a client that trusts everybody, as load generators do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


if __name__ == "__main__":
    main()
