"""Measure the servers of the course in turns, and pools.py: python docs/learn/measure.py.

It writes measured.toml, from which make docs-settings writes the tables. Each server has one core
and abench another: three rounds of 3,000 requests, 50 at a time, each on a connection of its own.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROUNDS, REQUESTS, CONNECTIONS = 3, 3_000, 50
FIRST, *OTHERS = sorted(os.sched_getaffinity(0))


@contextmanager
def running(server: Path) -> Iterator[str]:
    """Run a server on one core; yield its URL."""
    command = [sys.executable, str(server)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, {FIRST})  # its threads inherit it
        try:
            url = process.stdout.readline().strip()  # type: ignore[union-attr]
            # Some print more, and would wait where it is not read.
            threading.Thread(target=process.stdout.read).start()  # type: ignore[union-attr]
            yield url
        finally:
            process.terminate()


def measure(url: str) -> tuple[int, int]:
    """Return how many pages a second were fetched, and how many requests failed."""
    load = ["-c", str(CONNECTIONS), "-n", str(REQUESTS), "--no-keepalive", "--json", "-"]
    command = [sys.executable, "-m", "abench", *load, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if OTHERS:
        os.sched_setaffinity(process.pid, {OTHERS[-1]})
    report = json.loads(process.communicate()[0])
    return round(report["pages_per_sec"]), report["requests"]["failed"]


def main() -> None:
    """Measure, and write the file."""
    servers = sorted(HERE.glob("s[0-9][0-9]_*.py"))
    found: dict[str, list[tuple[int, int]]] = {server.stem: [] for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            with running(server) as url:
                found[server.stem].append(measure(url))
    lines = [f'python = "{platform.python_version()}"', ""]
    for name, runs in found.items():
        pages = sorted(rate for rate, _ in runs)
        lines += [f"[servers.{name}]", f"pages_per_s = {round(statistics.median(pages))}"]
        lines += [f"lowest = {pages[0]}", f"highest = {pages[-1]}"]
        lines += [f"failed = {sum(failed for _, failed in runs)}", ""]
    pools = subprocess.check_output([sys.executable, HERE / "pools.py"], text=True)
    lines += ["[pools]", f"output = '''\n{pools}'''"]
    (HERE / "measured.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
