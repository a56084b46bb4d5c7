"""What a request of a scenario costs the client: abench run, beside abench itself and locust.

    python -m benchmarks.scenarios [--locust PATH] [--seconds N] [--rounds N]

A path of ten requests is taken by 20 users in a closed loop, against a server that does next to
nothing. The cost is the processor time of the client's processes for each request more in a long
run than in a short one: what it takes to start is no part of it. All are measured in turns, and the
ratios are of medians. Locust is measured with both of its clients, by its own command.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from abench.runner.null_server import null_server

USERS = 20
_SCENARIO = """
from abench import User, check

async def visit(user: User) -> None:
    for _ in range(10):
        response = await user.get("/")
        check("it is there", response.status == 200)
"""
_LOCUST = """
from locust import {client}, task

class Visitor({client}):
    @task
    def visit(self):
        for _ in range(10):
            with self.client.get("/", catch_response=True) as response:
                if response.status_code != 200:
                    response.failure("it is not there")
"""


class Used(NamedTuple):
    """What a run of a client took: its requests, and seconds of processor time."""

    requests: int
    cpu_s: float


def _run(command: list[str], directory: Path) -> float:
    """Run a command to its end; return the seconds of processor time of its processes."""
    with (directory / "output").open("w") as output:
        child = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: {(directory / 'output').read_text()[-500:]}")
    return usage.ru_utime + usage.ru_stime


def _abench(arguments: list[str]) -> Callable[[str, float, Path], Used]:
    def run(url: str, seconds: float, directory: Path) -> Used:
        command = [sys.executable, "-m", "abench", *arguments, url, "-c", f"{USERS}", "-w", "1"]
        cpu_s = _run([*command, "-t", f"{seconds}", "--json", "report.json", "--quiet"], directory)
        report = json.loads((directory / "report.json").read_text())
        return Used(report["requests"]["total"], cpu_s)

    return run


def _locust(program: str, client: str) -> Callable[[str, float, Path], Used]:
    def run(url: str, seconds: float, directory: Path) -> Used:
        (directory / "locustfile.py").write_text(_LOCUST.format(client=client))
        command = [program, "--headless", "-u", f"{USERS}", "-r", f"{USERS}", "-H", url.rstrip("/")]
        cpu_s = _run(
            [*command, "-t", f"{seconds:.0f}s", "--csv", "of", "--only-summary"], directory
        )
        with (directory / "of_stats.csv").open() as stream:
            total = next(row for row in csv.DictReader(stream) if row["Name"] == "Aggregated")
        return Used(int(total["Request Count"]), cpu_s)

    return run


def main() -> None:
    """Measure all in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--locust", metavar="PATH", help="the program locust, to measure it as well"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="length of the longer runs (6)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    given = parser.parse_args()
    clients = {"abench": _abench([]), "abench run": _abench(["run", "scenario.py"])}
    if given.locust:
        program = str(Path(given.locust).absolute())
        for client in ("FastHttpUser", "HttpUser"):
            clients[f"locust, {client}"] = _locust(program, client)
    costs: dict[str, list[float]] = {name: [] for name in clients}
    with TemporaryDirectory() as place, null_server() as server:
        directory = Path(place)
        (directory / "scenario.py").write_text(_SCENARIO)
        for _ in range(given.rounds):
            for name, measure in clients.items():
                short, long = (measure(server.url, s, directory) for s in (2.0, given.seconds))
                cpu_s, requests = long.cpu_s - short.cpu_s, long.requests - short.requests
                costs[name].append(1e6 * cpu_s / requests)
    least = statistics.median(costs["abench run"])
    for name, found in costs.items():
        cost = statistics.median(found)
        spread = f"{min(found):.0f} to {max(found):.0f}"
        print(f"{name:22} {cost:7.1f} us   {cost / least:5.2f} x   ({spread})")


if __name__ == "__main__":
    main()
