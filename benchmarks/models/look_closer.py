"""What needs a load of its own, once: memory of an idle connection, system calls of a page."""

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.kinds import Probe
from benchmarks.loads import HOST, Ask, count_failures_of_wrk, finished, loading
from benchmarks.models.contenders import contenders
from benchmarks.models.load import count_open
from benchmarks.models.paused import awake, paused
from benchmarks.processes import NoMeasurement, family, proportional
from benchmarks.servers import Running

ASK = Ask(64)
OPEN = 200
"""Idle connections whose memory is measured: fewer than the models with a limit have room for."""

_OPENING_S = 10.0  # until each of them has had a response
_ATTACHING_S = 5.0  # until strace traces all threads
_CALLS = re.compile(r"^\s*([a-z_0-9]+)\s+(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Once:
    """A measurement of one contender that is not repeated."""

    measure: Callable[[Running, int], dict[str, float]]

    @contextmanager
    def ready(self, name: str, root: Path, seconds: int) -> Iterator[Probe]:
        """Start the server, and stop it until its turn."""
        with paused(name, ASK, root) as one:
            yield partial(self._measure, one, seconds)

    def _measure(self, one: Running, seconds: int) -> dict[str, float]:
        with awake(one):
            return self.measure(one, seconds)

    def command(self, name: str, seconds: int) -> str:  # noqa: ARG002 - runs until it is ended
        """Return the command of a server."""
        return contenders()[name].server(name).command

    def load_command(self, seconds: int) -> str:  # noqa: ARG002 - no load of a usual kind
        """Return nothing."""
        return ""


def memory_each(one: Running, _seconds: int) -> dict[str, float]:
    """Return the memory of an idle connection that has had a response."""
    before, deadline = proportional(one.pid), time.monotonic() + _OPENING_S
    with ExitStack() as stack:
        clients = []
        for _ in range(OPEN):
            left = max(0.1, deadline - time.monotonic())
            client = stack.enter_context(socket.create_connection((HOST, one.port), left))
            client.sendall(f"GET {ASK.target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            _require_page(client, len(clients))
            clients.append(client)
        if (still_open := count_open(clients)) < OPEN:
            raise NoMeasurement(f"of {OPEN} idle connections it keeps {still_open}")
        return {"kib_each": (proportional(one.pid) - before) / OPEN / 1_024}


def _require_page(client: socket.socket, number: int) -> None:
    try:
        received = client.recv(65_536)
    except TimeoutError as error:
        reason = f"connection {number + 1} had no response while the others were idle"
        raise NoMeasurement(reason) from error
    if not received.startswith(b"HTTP/1.1 200"):
        raise NoMeasurement(f"connection {number + 1} got no page: {received[:12]!r}")


def calls_each(one: Running, seconds: int) -> dict[str, float]:
    """Count system calls for each page, where strace may be attached."""
    if not (tracer := shutil.which("strace")):
        raise NoMeasurement("strace is not installed")
    pids = family(one.pid)
    words = [tracer, "-f", "-c", "-U", "name,calls", *(f"--attach={pid}" for pid in pids)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        _wait_until_traced(process, pids)
        with loading("wrk", ASK, one.port, seconds + 1) as load:
            counted = finished("wrk", load, count_failures_of_wrk)
    finally:
        table = _table_of(process)
    found = {name: int(calls) for name, calls in _CALLS.findall(table) if name != "total"}
    each = {f"call {name}": calls / counted.replies for name, calls in found.items()}
    return {"calls": sum(found.values()) / counted.replies} | each


def _table_of(tracer: subprocess.Popen[str]) -> str:
    """Have strace detach itself, and return what it prints."""
    tracer.send_signal(signal.SIGINT)
    try:
        return tracer.communicate(timeout=_ATTACHING_S)[1]
    except subprocess.TimeoutExpired as error:
        tracer.kill()
        tracer.communicate()
        raise NoMeasurement("strace did not end") from error


def _wait_until_traced(tracer: subprocess.Popen[str], pids: list[int]) -> None:
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    deadline = time.monotonic() + _ATTACHING_S
    while any(map(_is_untraced, tasks)):
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise NoMeasurement("strace cannot trace it")
        time.sleep(0.01)


def _is_untraced(task: Path) -> bool:
    try:
        return "TracerPid:\t0\n" in (task / "status").read_text()
    except OSError:  # it has ended
        return False
