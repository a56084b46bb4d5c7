"""How two checkouts start, in the same rounds: `python -m benchmarks.starts BEFORE AFTER`.

What is measured are `aserve DIR` to its first response, and `abench -n 1` to its end. Medians of
CPU time are what to compare: wall time is that of a machine that does other work as well.
"""

import compileall
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROUNDS = 15


class Start(NamedTuple):
    """One start. Times in milliseconds, resident memory in MiB.

    cpu: of aserve that of its main thread. resident: of abench the most it had.
    """

    wall: float
    cpu: float
    resident: float


@contextmanager
def serving(
    tree: Path, *options: str, told: list[str] | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Serve a directory with the aserve of a checkout, and return the process and its URL.

    options: of the interpreter. told: gets the lines that are printed.
    """
    told = [] if told is None else told
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "index.html").write_text("a")
        command = (sys.executable, *options, "-m", "aserve", root)
        environment = _environment(tree) | {"ASERVE_PORT": "0"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=root, env=environment, stderr=pipe, text=True) as one:
            assert one.stderr
            while not (found := re.search(r"http://\S+", told[-1] if told else "")):
                told.append(one.stderr.readline())
            try:
                yield one, found[0]
            finally:
                one.send_signal(signal.SIGTERM)
                told += one.communicate()[1].splitlines()


def start_server(tree: Path) -> Start:
    """Measure one start of aserve, to its first response."""
    begun = time.perf_counter()
    with serving(tree) as (process, url):
        _ask(url)
        wall = time.perf_counter() - begun
        own = Path(f"/proc/{process.pid}")
        cpu = int((own / "schedstat").read_text().split()[0]) / 1e9
        found = re.search(r"^VmRSS:\s+(\d+)", (own / "status").read_text(), re.MULTILINE)
        return Start(wall * 1e3, cpu * 1e3, int(found[1]) / 1024 if found else 0.0)


def start_client(tree: Path, url: str) -> Start:
    """Measure one run of abench."""
    begun = time.perf_counter()
    command = (sys.executable, "-m", "abench", "-n", "1", url)
    process = subprocess.Popen(command, env=_environment(tree), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode
    cpu = usage.ru_utime + usage.ru_stime
    return Start((time.perf_counter() - begun) * 1e3, cpu * 1e3, usage.ru_maxrss / 1024)


def count_modules(tree: Path) -> int:
    """Return how many modules aserve has imported by the end, after one response."""
    told: list[str] = []
    with serving(tree, "-X", "importtime", told=told) as (_, url):
        _ask(url)
    return sum(line.startswith("import time:") for line in told) - 1  # the heading


def _ask(url: str) -> None:
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def _environment(tree: Path) -> dict[str, str]:
    own = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return own | {"PYTHONPATH": str(tree)}


def main() -> None:
    """Print a row for each checkout and program."""
    trees = [Path(name).resolve() for name in sys.argv[1:]]
    for tree in trees:  # as pip does when it installs
        for package in ("aserve", "abench"):
            compileall.compile_dir(tree / package, quiet=1)
    servers: dict[Path, list[Start]] = {tree: [] for tree in trees}
    clients: dict[Path, list[Start]] = {tree: [] for tree in trees}
    with serving(trees[0]) as (_, url):
        for _ in range(ROUNDS):
            for tree in trees:
                servers[tree].append(start_server(tree))
                clients[tree].append(start_client(tree, url))
    for tree in trees:
        _print_row(f"aserve DIR  {tree}", servers[tree], f"{count_modules(tree)} modules")
    for tree in trees:
        _print_row(f"abench -n 1  {tree}", clients[tree])


def _print_row(what: str, starts: list[Start], more: str = "") -> None:
    wall, cpu, resident = map(median, zip(*starts, strict=True))
    least = min(start.cpu for start in starts)
    print(
        f"{what}: {cpu:.0f} ms of CPU (least {least:.0f}), {wall:.0f} ms, {resident:.1f} MiB {more}"
    )


if __name__ == "__main__":
    main()
