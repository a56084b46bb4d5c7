"""A fleet on this machine: `python -m benchmarks.fleet_nodes NODES [FAULT=NODE ...]`.

A dask scheduler, a server that counts what it answers, and nodes that each are a dask worker in a
network namespace of its own (benchmarks/namespaces.py). dask is imported once, and each node is a
fork: `dask worker` takes a second and 80 MB each time. What a node starts for a share, it starts as
everywhere. All that is not a node goes before the nodes, as on a machine of its own.

Where all is, is one line of JSON on standard output; each line of standard input is answered with
what the server has counted; its end ends all.

A fault is `version=N` for a node with another version of abench, `slow=N` for one that takes
seconds to start a share, or `clock=N` for one whose clocks are wrong: that of the day by an hour,
and the one since the start of the machine by a day. With `capacity=R`, the server takes one request
after the other, R per second.
"""

import asyncio
import ctypes
import ctypes.util
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import distributed
import uvloop

from benchmarks import namespaces

SCHEDULER_PORT = 8786
PRIORITY = 10
"""By which the scheduler, the server and a coordinator go before the nodes, as of nice(2)."""

BODY = b"x" * 100
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
_CLONE_NEWTIME = 0x80
_THREADS = 4
_SLOW_S = 3.0


class Line:
    """The line in front of a server that takes one request after the other, each as long."""

    def __init__(self, service_s: float) -> None:
        self._service_s, self._free_at = service_s, 0.0

    def join(self, now: float, requests: int) -> float:
        """Return when these requests, which come `now`, are done."""
        self._free_at = max(now, self._free_at) + requests * self._service_s
        return self._free_at


class CountingServer(asyncio.Protocol):
    """Answers each request in its turn, and counts its responses by the address of the client."""

    def __init__(self, counts: Counter[str], line: Line | None) -> None:
        self._counts, self._line = counts, line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whose connection this is."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._client = transport.get_extra_info("peername")[0]

    def data_received(self, data: bytes) -> None:
        """Answer the requests: their heads are small, and arrive whole."""
        requests = data.count(b"\r\n\r\n")
        if self._line is None:
            self._answer(requests)
        else:
            loop = asyncio.get_running_loop()
            loop.call_at(self._line.join(loop.time(), requests), self._answer, requests)

    def _answer(self, requests: int) -> None:
        self._counts[self._client] += requests
        self._transport.write(RESPONSE * requests)


def main(nodes: int, faults: dict[int, str], line: Line | None) -> None:
    """Start everything, serve, and end everything."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        _run(nodes, faults, line, scratch)


def _run(nodes: int, faults: dict[int, str], line: Line | None, scratch: str) -> None:
    namespaces.make_hub()
    os.nice(-PRIORITY)
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        scheduler = _fork(lambda: asyncio.run(_run_scheduler()))
        gates = [os.pipe() for _ in range(nodes)]
        pids = [
            _fork(_node(number, gates, faults.get(number, ""), scratch)) for number in range(nodes)
        ]
    try:
        namespaces.connect(_wait_for_namespaces(pids))
        for _, write_end in gates:
            os.write(write_end, b"g")
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(_serve(scheduler, pids, line))
    finally:
        for pid in (scheduler, *pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(0)
            os.open(os.devnull, os.O_RDONLY)
            os.dup2(2, 1)
            run()
            code = 0
        finally:
            os._exit(code)
    return pid


async def _run_scheduler() -> None:
    async with distributed.Scheduler(
        host=namespaces.HUB, port=SCHEDULER_PORT, dashboard=False
    ) as scheduler:
        await scheduler.finished()


def _node(
    number: int, gates: list[tuple[int, int]], fault: str, scratch: str
) -> Callable[[], None]:
    def run() -> None:
        os.nice(PRIORITY)
        namespaces.leave_network()
        os.read(gates[number][0], 1)  # until its cable is there
        namespaces.configure(number)
        if fault:
            _FAULTS[fault]()
        asyncio.run(_run_node(number, scratch))

    return run


async def _run_node(number: int, scratch: str) -> None:
    async with distributed.Worker(
        f"tcp://{namespaces.HUB}:{SCHEDULER_PORT}",
        host=namespaces.address(number),
        nthreads=_THREADS,
        local_directory=f"{scratch}/{number}",
    ) as worker:
        await worker.finished()


def _have_another_version() -> None:
    importlib.metadata.version = lambda _name: "0.0.1"  # type: ignore[assignment]


def _have_wrong_clocks() -> None:
    right = time.time
    time.time = lambda: right() + 3600
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    if libc.unshare(_CLONE_NEWTIME) == 0:  # for the processes that this one starts
        Path("/proc/self/timens_offsets").write_text("monotonic 86400 0\nboottime 86400 0\n")


def _start_slowly() -> None:
    start = subprocess.Popen

    def start_late(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        time.sleep(_SLOW_S)
        return start(*arguments, **options)

    subprocess.Popen = start_late  # type: ignore[misc, assignment]


_FAULTS = {"slow": _start_slowly, "version": _have_another_version, "clock": _have_wrong_clocks}


def _wait_for_namespaces(pids: list[int]) -> list[int]:
    """Wait until the nodes have left this namespace, and return their pids."""
    own = Path("/proc/self/ns/net").readlink()
    for pid in pids:
        while Path(f"/proc/{pid}/ns/net").readlink() == own:
            time.sleep(0.005)
    return pids


async def _serve(scheduler: int, pids: list[int], line: Line | None) -> None:
    counts: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: CountingServer(counts, line), namespaces.HUB, 0, backlog=4096
    )
    port = server.sockets[0].getsockname()[1]
    async with distributed.Client(
        f"tcp://{namespaces.HUB}:{SCHEDULER_PORT}", asynchronous=True, set_as_default=False
    ) as client:
        await client.wait_for_workers(len(pids))
    print(
        json.dumps(
            {
                "pid": os.getpid(),
                "scheduler": f"{namespaces.HUB}:{SCHEDULER_PORT}",
                "scheduler_pid": scheduler,
                "url": f"http://{namespaces.HUB}:{port}/",
                "nodes": pids,
            }
        ),
        flush=True,
    )
    ended = asyncio.Event()

    def answer() -> None:
        if not os.read(0, 4096):
            ended.set()
            loop.remove_reader(0)
            return
        print(json.dumps(counts), flush=True)

    loop.add_reader(0, answer)
    await ended.wait()


if __name__ == "__main__":
    chosen = [(name, int(value)) for name, value in (each.split("=") for each in sys.argv[2:])]
    per_second = dict(chosen).get("capacity")
    main(
        int(sys.argv[1]),
        {number: fault for fault, number in chosen if fault in _FAULTS},
        Line(1 / per_second) if per_second else None,
    )
