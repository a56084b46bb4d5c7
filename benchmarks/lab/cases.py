"""The cases of the lab: a server, how it is loaded, and the limiter that abench is to name."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmarks.lab import client, lossy_link
from benchmarks.processes import end


@dataclass(frozen=True, slots=True)
class Case:
    """One limit: `server` is a name in servers.py, and `options` are those of abench.

    `disturb` is called with abench's process while it runs, `around` is entered before it starts.
    """

    name: str
    limiter: str
    server: str
    options: str
    host: str = "127.0.0.1"
    disturb: Callable[[client.Process, int], None] | None = None
    around: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


CASES = (
    Case("CPU-bound", "server", "cpu", "-c 8 -t 1 -w 1"),
    Case("one lock", "concurrency", "lock", "-c 16 -t 1.2 -w 1"),
    Case("pool of three", "concurrency", "pool", "-c 16 -t 1.2 -w 1"),
    Case("slow disk", "disk", "disk", "-c 8 -t 1.5 -w 1"),
    Case("leaking pool", "growth", "leak", "-c 16 -t 6 -w 1"),
    Case("small backlog", "backlog", "backlog", "-c 24 -t 2.5 -w 1 --no-keepalive"),
    Case("packet loss", "network", "loss", "-c 16 -t 1.5 -w 1", host=lossy_link.PEER),
    Case("fixed latency", "latency", "latency", "-c 8 -t 1 -w 1"),
    Case("uneven latency", "latency", "uneven", "-c 8 -t 1 -w 1"),
    Case("keep-alive off", "keep-alive", "closing", "-c 8 -t 0.7 -w 1"),
    Case("limited rate", "rate-limit", "rate-limit", "-c 8 -t 0.7 -w 1"),
    Case("errors", "errors", "errors", "-c 8 -t 0.7 -w 1"),
    Case("silence", "silence", "silence", "-c 8 -t 1.2 -w 1"),
    Case("offered rate", "schedule", "latency", "-c 16 -R 100 -t 0.7 -w 1"),
    Case("busy client", "client", "quick", "-c 64 -t 1 -w 1 --pipeline 32"),
    Case("stalled client", "loop-lag", "latency", "-c 8 -t 1.2 -w 1", disturb=client.stall),
    Case(
        *("no ports", "ports", "quick", "-c 8 -t 0.7 -w 1 --no-keepalive"),
        around=client.few_ports,
    ),
    Case(
        *("no files", "open-files", "closing", "-c 16 -t 0.7 -w 1 --no-keepalive"),
        disturb=client.take_files,
    ),
)


def run(case: Case) -> dict[str, Any]:
    """Run abench against the server of a case, and return the report's JSON document."""
    with _running(case.server) as (pid, port), case.around():
        words = [*case.options.split(), "--quiet", "--server-pid", str(pid), "--json", "-"]
        command = [sys.executable, "-m", "abench", *words, f"http://{case.host}:{port}/"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as abench:
            if case.disturb:
                case.disturb(abench, port)
            out, messages = abench.communicate()
    if not out:
        raise RuntimeError(f"{' '.join(command)}: {messages}")
    report: dict[str, Any] = json.loads(out)
    return report


@contextmanager
def _running(server: str) -> Iterator[tuple[int, int]]:
    """Run a server; its process and its port."""
    command = [sys.executable, "-m", "benchmarks.lab.servers", server]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        end(process)
