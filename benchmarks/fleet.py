"""What a fleet costs its coordinator: `python -m benchmarks.fleet [NODES ...]`, as root.

Each fleet is simulated (benchmarks/fleet_nodes.py), and runs the same load for a short and for a
long time: what they differ by is the cost of a second, and the rest that of the start and the end.
Two minutes for fleets of 10, 25 and 50 nodes. Counts of bytes and messages hold on any machine;
for times, nothing else should run.

    python -m benchmarks.fleet --capacity [NODES]

lets as many nodes (50) load a server that takes one request after the other, CAPACITY per second:
what a closed loop reaches and its verdict, and what `abench capacity` finds. Three minutes at most.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import namespaces
from benchmarks.fleet_nodes import PRIORITY
from benchmarks.processes import end, processor_seconds, resident

NODES = (10, 25, 50)
SECONDS = (4, 12)
RATE_PER_NODE = 10
CAPACITY = 400
_SEARCH = ("--slo", "p99<300ms", "-t", "110s", "--step", "5s")
_LOOPBACK = re.compile(r"^\s*lo:\s*(\d+)", re.MULTILINE)


class Fleet:
    """A simulated fleet, which has started."""

    def __init__(self, process: subprocess.Popen[str], where: dict[str, Any]) -> None:
        self._process = process
        self.url: str = where["url"]
        self.scheduler: str = where["scheduler"]
        self.scheduler_pid: int = where["scheduler_pid"]
        self.nodes: list[int] = where["nodes"]

    def counts(self) -> dict[str, int]:
        """Return how many requests the server has answered, by the address of the client."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, int] = json.loads(self._process.stdout.readline())
        return found

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs another beside the scheduler, with its priority."""
        return [*self._at_hub(), "nice", "-n", str(-PRIORITY), *command]

    def cut(self, number: int) -> None:
        """Cut a node off the network."""
        namespaces.cut(number, self._process.pid)

    def loopback_bytes(self) -> int:
        """Return the bytes that the scheduler and its clients have exchanged."""
        table = subprocess.run([*self._at_hub(), "cat", "/proc/net/dev"], stdout=-1, check=True)
        found = _LOOPBACK.search(table.stdout.decode())
        assert found
        return int(found[1])

    def _at_hub(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]


@contextmanager
def simulated_fleet(nodes: int, *faults: str, capacity: int = 0) -> Iterator[Fleet]:
    """Start a fleet of so many nodes, and end it.

    The faults are those of benchmarks/fleet_nodes.py. With a capacity, the server takes one request
    after the other, so many per second.
    """
    command = [sys.executable, "-m", "benchmarks.fleet_nodes", str(nodes), *faults]
    if capacity:
        command.append(f"capacity={capacity}")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        try:
            yield Fleet(process, json.loads(process.stdout.readline()))
        finally:
            end(process)


@dataclass(frozen=True)
class Cost:
    """What one run has cost beside its load."""

    coordinator_s: float
    scheduler_s: float
    loopback: int
    peak: int
    document: dict[str, Any]


def run_abench(fleet: Fleet, *arguments: str, command: Sequence[str] = ()) -> Cost:
    """Run abench, or a command of it, on all nodes; return its document and what it has cost."""
    scheduler_s, loopback = processor_seconds(fleet.scheduler_pid), fleet.loopback_bytes()
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        program = fleet.inside(
            *(sys.executable, "-m", "abench", *command, "--dask", fleet.scheduler, "--quiet"),
            *("--json", str(report), *arguments, fleet.url),
        )
        process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        document = json.loads(report.read_text())
    return Cost(
        usage.ru_utime + usage.ru_stime,
        processor_seconds(fleet.scheduler_pid) - scheduler_s,
        fleet.loopback_bytes() - loopback,
        usage.ru_maxrss * 1024,
        document,
    )


def measure(nodes: int) -> dict[str, float]:
    """Return what a fleet of so many nodes costs its coordinator, by node and second."""
    load = ("-R", str(RATE_PER_NODE * nodes), "-c", str(nodes))
    with simulated_fleet(nodes) as fleet:
        short, long = (run_abench(fleet, *load, "-t", str(seconds)) for seconds in SECONDS)
        scheduler_mb = resident(fleet.scheduler_pid) / 1e6
        counted = sum(fleet.counts().values())
    shares = (SECONDS[1] - SECONDS[0]) * nodes
    seen = [run.document["requests"] for run in (short, long)]
    return {
        "nodes": nodes,
        "coordinator ms": 1e3 * (long.coordinator_s - short.coordinator_s) / shares,
        "scheduler ms": 1e3 * (long.scheduler_s - short.scheduler_s) / shares,
        "KB": (long.loopback - short.loopback) / 1e3 / shares,
        "messages": (_messages(long) - _messages(short)) / shares,
        "start s": short.coordinator_s - SECONDS[0] * (long.coordinator_s - short.coordinator_s)
        / (SECONDS[1] - SECONDS[0]),
        "coordinator MB": long.peak / 1e6,
        "scheduler MB": scheduler_mb,
        "started within ms": 1e3 * max(run.document["start_within_s"] for run in (short, long)),
        "lost": sum(run.document["workers_lost"] for run in (short, long)),
        "not counted": counted - sum(one["total"] + one["unfinished"] for one in seen),
    }  # fmt: skip


def measure_capacity(nodes: int) -> dict[str, Any]:
    """Return the known capacity of a server beside what a fleet says of it."""
    with simulated_fleet(nodes, capacity=CAPACITY) as fleet:
        closed = run_abench(fleet, "-c", str(4 * nodes), "-t", "5").document
        found = run_abench(fleet, *_SEARCH, command=["capacity"]).document["capacity_per_sec"]
    return {
        "nodes": nodes,
        "capacity /s": CAPACITY,
        "closed loop /s": closed["pages_per_sec"],
        "verdict": closed["verdict"]["limiter"],
        "search": json.dumps(found),
    }


def _messages(cost: Cost) -> int:
    return sum(node["messages"] for node in cost.document["nodes"])


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table of Markdown."""
    print("|", " | ".join(rows[0]), "|")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("|", " | ".join(map(_cell, row.values())), "|", flush=True)


def _cell(value: object) -> str:
    return value if isinstance(value, str) else f"{value:,.3g}"


if __name__ == "__main__":
    if problem := namespaces.why_not():
        sys.exit(problem)
    _, *given = sys.argv
    if given[:1] == ["--capacity"]:
        print_table([measure_capacity(int((given[1:] or [NODES[-1]])[0]))])
    else:
        print_table([measure(int(nodes)) for nodes in given or NODES])
