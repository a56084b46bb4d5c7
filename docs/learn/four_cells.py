"""Synchronous or asynchronous, blocking or non-blocking: a read in each of the four cells."""

import ctypes
import signal
import socket
import threading

from s10_proactor import LIBC, Operation


def blocking(here: socket.socket, there: socket.socket) -> str:
    """Call recv, which waits for the data and moves it."""
    threading.Thread(target=there.send, args=(b"hello",)).start()
    return f"recv waited, and moved {here.recv(100).decode()}"


def nonblocking(here: socket.socket, there: socket.socket) -> str:
    """Call recv, which does not wait; when there is data, it moves it."""
    here.setblocking(False)
    try:
        here.recv(100)
    except BlockingIOError:  # EAGAIN: time for something else
        there.send(b"hello")
    return f"recv said EAGAIN, and the second one moved {here.recv(100).decode()}"


def start(here: socket.socket, buffer: ctypes.Array[ctypes.c_char], notify: int) -> Operation:
    """Start to read into the buffer, and return at once; notify 0 is a signal, 1 is nothing."""
    operation = Operation(fd=here.fileno(), buffer=ctypes.addressof(buffer), size=len(buffer))
    operation.signal, operation.notify = signal.SIGRTMIN, notify
    LIBC.aio_read(ctypes.byref(operation))
    return operation


def started_and_awaited(here: socket.socket, there: socket.socket) -> str:
    """Have the system move the data, and wait until it has done so."""
    buffer = ctypes.create_string_buffer(100)
    operation = start(here, buffer, notify=1)
    there.send(b"hello")
    LIBC.aio_suspend(ctypes.byref(ctypes.pointer(operation)), 1, None)
    return f"aio_suspend waited, and the buffer holds {buffer.value.decode()}"


def started(here: socket.socket, there: socket.socket) -> str:
    """Have the system move the data and then send a signal; go on meanwhile."""
    buffer = ctypes.create_string_buffer(100)
    done: list[int] = []
    signal.signal(signal.SIGRTMIN, lambda number, _: done.append(number))
    operation = start(here, buffer, notify=0)
    there.send(b"hello")
    steps = 0
    while not done:
        steps += 1  # the program's own work, which goes on
    count = LIBC.aio_return(ctypes.byref(operation))
    return f"a signal came, and the buffer holds {buffer.raw[:count].decode()}"


CELLS = {
    "synchronous, blocking": blocking,
    "synchronous, non-blocking": nonblocking,
    "asynchronous, blocking": started_and_awaited,
    "asynchronous, non-blocking": started,
}

if __name__ == "__main__":
    for name, cell in CELLS.items():
        here, there = socket.socketpair()
        with here, there:
            print(f"{name + ':':27} {cell(here, there)}")
