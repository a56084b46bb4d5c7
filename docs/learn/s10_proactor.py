"""Proactor: the system moves the bytes, a signal tells when, and workers do the rest."""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

PAGE = b"<!doctype html><title>Hello</title><h1>Hello</h1>\n"
MAX_HEAD = 8192
LIBC = ctypes.CDLL(None)
SIGNALS = {signal.SIGIO, signal.SIGRTMIN}


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


class Operation(ctypes.Structure):
    """What aio_read and aio_write take: glibc's struct aiocb on 64-bit Linux."""

    _fields_ = (
        *(("fd", ctypes.c_int), ("opcode", ctypes.c_int), ("priority", ctypes.c_int)),
        *(("buffer", ctypes.c_void_p), ("size", ctypes.c_size_t), ("value", ctypes.c_void_p)),
        *(("signal", ctypes.c_int), ("notify", ctypes.c_int), ("rest", ctypes.c_char * 64)),
        *(("error", ctypes.c_int), ("result", ctypes.c_ssize_t), ("offset", ctypes.c_char * 40)),
    )


class Connection:
    """What the server has to remember of a client while it does something else."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.head, self.response = sock, b"", b""

    def start(self) -> None:
        """Start to send the response or, if there is none yet, to receive."""
        self.buffer = ctypes.create_string_buffer(self.response, len(self.response) or 4096)
        self.operation = Operation(fd=self.sock.fileno(), buffer=ctypes.addressof(self.buffer))
        self.operation.size, self.operation.signal = len(self.buffer), signal.SIGRTMIN
        self.operation.error = errno.EINPROGRESS
        IN_PROGRESS.add(self)
        (LIBC.aio_write if self.response else LIBC.aio_read)(ctypes.byref(self.operation))

    def proceed(self) -> None:
        """Use what has been moved, and start what comes next."""
        count = LIBC.aio_return(ctypes.byref(self.operation))
        if count <= 0 or count == len(self.response):
            self.sock.close()  # the client has gone, or has everything
            return
        self.head += b"" if self.response else self.buffer.raw[:count]
        self.response = self.response[count:]
        if not self.response and (b"\r\n\r\n" in self.head or len(self.head) >= MAX_HEAD):
            self.response = respond(self.head)
        self.start()


IN_PROGRESS: set[Connection] = set()


def main() -> None:
    """Listen on a port of the command line, or on any free one."""
    with socket.create_server(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # for sigwaitinfo; threads inherit it
        fcntl.fcntl(listener, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(listener, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        workers = ThreadPoolExecutor(4)
        while True:
            with suppress(BlockingIOError):
                while True:
                    Connection(listener.accept()[0]).start()
            for one in IN_PROGRESS.copy():
                if LIBC.aio_error(ctypes.byref(one.operation)) != errno.EINPROGRESS:
                    IN_PROGRESS.remove(one)
                    workers.submit(one.proceed)
            signal.sigwaitinfo(SIGNALS)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
