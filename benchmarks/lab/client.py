"""What is done to abench while it runs, where the limit is to be on its side."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

Process = subprocess.Popen[Any]

_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_REUSE = Path("/proc/sys/net/ipv4/tcp_tw_reuse")
_FEW_PORTS = "20000 20020"
_FEW_FILES = 8  # fewer than a worker has open anyway
_STALL_S = 0.05
_ENOUGH_TRAFFIC = 5  # connections: the first is the attempt before the run


@contextmanager
def few_ports() -> Iterator[None]:
    """Leave 21 local ports, each of which a closed connection holds for a minute."""
    before = _PORTS.read_text(), _REUSE.read_text()
    _PORTS.write_text(_FEW_PORTS)
    _REUSE.write_text("0")
    try:
        yield
    finally:
        _PORTS.write_text(before[0])
        _REUSE.write_text(before[1])


def take_files(process: Process, port: int) -> None:
    """Allow the workers no more files, once they have begun."""
    _wait_for_traffic(process, port)
    for pid in _children(process.pid):
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (_FEW_FILES, _FEW_FILES))


def stall(process: Process, port: int) -> None:
    """Stop the workers for half of the time, as a limit of CPU time does with a container."""
    _wait_for_traffic(process, port)
    while process.poll() is None:
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in _children(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(_STALL_S)


def _wait_for_traffic(process: Process, port: int) -> None:
    """Wait until the workers have connected, or have ended."""
    while process.poll() is None and _connections(port) < _ENOUGH_TRAFFIC:
        time.sleep(0.01)


def _connections(port: int) -> int:
    """Return how many connections there are and were a minute ago, to a local port."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(int(row.split()[2].rpartition(":")[2], 16) == port for row in rows)


def _children(pid: int) -> list[int]:
    with suppress(OSError):  # it has ended
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
