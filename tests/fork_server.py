"""Run programs in processes of their own without a new interpreter for each.

To start Python and import abench takes 0.5 s, to fork a process that has done so 5 ms. The program
runs from `__main__` on, as with `python -m`: with its own arguments, environment, descriptors,
signals and exit code. tests/test_packaging.py starts the programs as their users do.
"""

import asyncio
import gc
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from importlib import import_module
from typing import Any

_MAX_REQUEST = 1 << 17


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
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that has imported a package, and forks for each program."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    async def start(self, program: dict[str, Any]) -> Program:
        """Start a program: see _run for what describes it."""
        read_ends, write_ends = zip(*(os.pipe() for _ in range(4)), strict=True)
        stdin, *outputs = read_ends
        request = json.dumps({"environment": dict(os.environ), "directory": os.getcwd(), **program})
        socket.send_fds(self._control, [request.encode()], [stdin, *write_ends[1:]])
        for descriptor in (stdin, *write_ends[1:]):
            os.close(descriptor)
        pid = int(self._control.recv(64))
        out, err, status = [await _reader(descriptor) for descriptor in outputs]
        process = Program(pid, status)
        process.stdin, process.stdout, process.stderr = await _writer(write_ends[0]), out, err
        return process


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
    """Import every module that is quick to import, and what it needs to parse arguments."""
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        if "dask" not in module.name and not module.name.endswith("__main__"):
            import_module(module.name)
    with suppress(SystemExit), redirect_stderr(io.StringIO()):
        import_module(f"{package}.cli").main(invalid_arguments)
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

    warnings: "error" for `python -W error`.
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
    if program.get("warnings"):
        warnings.simplefilter(program["warnings"])
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if "module" in program:
        sys.argv = [program["module"], *program["arguments"]]
        runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *program["arguments"]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(program["code"], "<string>", "exec"), main.__dict__)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    _warm_up(sys.argv[2], sys.argv[3:])
    if forked := _serve(control):
        control.detach()
        _run(*forked)


if __name__ == "__main__":
    main()
