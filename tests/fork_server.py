"""Run programs in processes of their own without a new interpreter for each.

To start Python and import abench takes 0.5 s, to fork a process that has done so 5 ms. The program
runs from `__main__` on, as with `python -m`: with its own arguments, environment, descriptors,
signals and exit code. tests/test_packaging.py starts the programs as their users do.
"""

import asyncio
import atexit
import fcntl
import gc
import io
import json
import logging
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import types
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, suppress
from importlib import import_module
from typing import IO, Any

_MAX_REQUEST = 1 << 17
_SLOW_TO_IMPORT = ("__main__", "dask_cluster", "dask_link", "dask_node", "plots")


class Program:
    """A process, like one of asyncio.subprocess. All its streams are pipes."""

    def __init__(self, pid: int, status: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader
        self._status = status

    async def wait(self) -> int:
        if self.returncode is None:
            self.returncode = int(await self._status.read())
        return self.returncode

    async def communicate(self, data: bytes = b"") -> tuple[bytes, bytes]:
        with suppress(ConnectionError):
            self.stdin.write(data)
            await self.stdin.drain()
        self.stdin.close()
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class BlockingProgram:
    """A process, like one of subprocess: its standard output and error are text, or descriptors."""

    def __init__(
        self, pid: int, status: int, stdout: IO[str] | None, stderr: IO[str] | None
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout, self.stderr = stdout, stderr
        self._status = status

    def poll(self) -> int | None:
        readable, _, _ = select.select([self._status], (), (), 0)
        return self.wait() if readable else None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], (), (), timeout)[0]:
                raise subprocess.TimeoutExpired("a forked program", timeout or 0)
            self.returncode = int(os.read(self._status, 64))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their ends. timeout: for the process to end after that."""
        with ThreadPoolExecutor(1) as pool:
            out = pool.submit(self.stdout.read) if self.stdout else None
            err = self.stderr.read() if self.stderr else ""
        self.wait(timeout)
        return out.result() if out else "", err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and close its streams."""
        self.kill()
        self.wait()
        for stream in filter(None, (self.stdout, self.stderr)):
            stream.close()
        os.close(self._status)


class ForkServer:
    """The process that has imported a package, and forks for each program."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._lock = threading.Lock()  # for a request and its response

    def _fork(self, program: dict[str, Any], *descriptors: int) -> int:
        """Start a program with these: its standard streams, and where its exit code is written."""
        request = json.dumps({"environment": dict(os.environ), "directory": os.getcwd(), **program})
        with self._lock:
            socket.send_fds(self._control, [request.encode()], list(descriptors))
            return int(self._control.recv(64))

    async def start(self, program: dict[str, Any]) -> Program:
        """Start a program: see _run for what describes it."""
        read_ends, write_ends = zip(*(os.pipe() for _ in range(4)), strict=True)
        descriptors = (read_ends[0], *write_ends[1:])
        pid = self._fork(program, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        out, err, status = [await _reader(descriptor) for descriptor in read_ends[1:]]
        process = Program(pid, status)
        process.stdin, process.stdout, process.stderr = await _writer(write_ends[0]), out, err
        return process

    def start_blocking(
        self,
        program: dict[str, Any],
        stdin: int = 0,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> BlockingProgram:
        """Start a program with these streams. stdout, stderr: None for a pipe."""
        pipes = {number: os.pipe() for number, it in ((1, stdout), (2, stderr)) if it is None}
        status, write_status = os.pipe()
        outputs = [
            given if given is not None else pipes[number][1]
            for number, given in ((1, stdout), (2, stderr))
        ]
        pid = self._fork(program, stdin, *outputs, write_status)
        for descriptor in (write_status, *(write_end for _, write_end in pipes.values())):
            os.close(descriptor)
        streams = {number: os.fdopen(read_end) for number, (read_end, _) in pipes.items()}
        return BlockingProgram(pid, status, streams.get(1), streams.get(2))


async def _reader(descriptor: int) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader


async def _writer(descriptor: int) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(descriptor, "wb", 0)
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


@contextmanager
def fork_server(package: str, *invalid_arguments: str) -> Iterator[ForkServer]:
    """Run a fork server for the programs of a package, until the block ends.

    invalid_arguments: with these, the package's program ends after it has parsed them.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno()), package]
    command += invalid_arguments
    with (
        ours,
        subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True) as process,
    ):
        theirs.close()
        yield ForkServer(ours)
        ours.close()
        process.wait()


# The side of the server.


def _warm_up(package: str, invalid_arguments: list[str]) -> None:
    """Import every module that is quick to import, and what it needs to parse arguments.

    Each program is a copy of all of it: with matplotlib, a run would take half as long again.
    """
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        if module.name.rpartition(".")[2] not in _SLOW_TO_IMPORT:
            import_module(module.name)
    with suppress(SystemExit), redirect_stderr(io.StringIO()):
        import_module(f"{package}.cli").main(invalid_arguments)
    logging.root.handlers.clear()  # each program sets up its own log
    gc.freeze()  # a collection in a child would copy every page


def _serve(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request. Return twice: in each child with its request, at the end with None."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    # Until a child is its program, a signal waits: it could interrupt what Python does in a fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    running: dict[int, tuple[int, int]] = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                pid, status = running.pop(descriptor)
                poll.unregister(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(status, str(code).encode())
                os.close(status)
                os.close(descriptor)
                continue
            request, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST, 4)
            if not request:
                return None
            pid = os.fork()
            if not pid:
                return json.loads(request), descriptors
            for each in descriptors[:3]:
                os.close(each)
            ended = os.pidfd_open(pid)
            running[ended] = pid, descriptors[3]
            poll.register(ended, select.POLLIN)
            control.send(str(pid).encode())


def _run(program: dict[str, Any], descriptors: list[int]) -> None:
    """Become the program: a module or code, with its arguments, environment and directory.

    warnings: "error" for `python -W error`. new_session: whether it leads one. terminal: the same,
    and its standard input is its terminal. ignored_signals, closed: of which numbers.
    """
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, 1 << 16)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(program["environment"])
    os.chdir(program["directory"])
    if program.get("new_session") or program.get("terminal"):
        os.setsid()
    if program.get("terminal"):
        fcntl.ioctl(0, termios.TIOCSCTTY)
    for number in program.get("ignored_signals", ()):
        signal.signal(number, signal.SIG_IGN)
    for number in program.get("closed", ()):
        _close_standard_descriptor(number)
    if program.get("warnings"):
        warnings.simplefilter(program["warnings"])
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if "module" in program:
        sys.argv = [program["module"], *program["arguments"]]
        sys.orig_argv = [sys.executable, "-m", *sys.argv]
        runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *program["arguments"]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(program["code"], "<string>", "exec"), main.__dict__)


def _close_standard_descriptor(number: int) -> None:
    """Close it as if it had been closed when Python started."""
    os.close(number)
    name = ("stdin", "stdout", "stderr")[number]
    setattr(sys, name, None)
    setattr(sys, f"__{name}__", None)


def _end(code: int) -> None:
    """End this process as the interpreter would, without releasing every object.

    All of them are on pages shared with the server: to copy these pages takes five times as long
    as the rest of a short program. Threads are joined, exit handlers run and streams are flushed.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()
    os._exit(code)


def main() -> None:
    # A shell that starts the tests in the background lets them ignore what a test sends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    control = socket.socket(fileno=int(sys.argv[1]))
    _warm_up(sys.argv[2], sys.argv[3:])
    if not (forked := _serve(control)):
        return
    control.detach()
    code: object = 0
    try:
        _run(*forked)
    except SystemExit as end:
        code = end.code or 0
        # The interpreter prints any other code. Objects that leak warn when they are released.
        if not isinstance(code, int) or forked[0].get("warnings"):
            raise
    if not forked[0].get("warnings"):
        _end(code)


if __name__ == "__main__":
    main()
