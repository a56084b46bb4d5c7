"""What a request costs abench in two versions of it: runs in turns, and the ratio of the medians.

git worktree add /tmp/before REVISION
python -m benchmarks.client_cost /tmp/before [--rounds 9] [--requests 40000]

Each version loads the same server, which does next to nothing, and the cost is the processor time
of its worker for each request. Only the ratio counts, and only on a quiet machine: its spread, from
rounds that were run one after the other, says how quiet it was.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from abench.runner.null_server import null_server

HERE = Path(__file__).parents[1]
LOADS = {
    "kept": (),
    "several URLs": ("--urls",),
    "at a rate": ("-R", "3k"),
    "one connection each": ("--no-keepalive",),
}
URLS = 20  # in the file of "several URLs"
CONNECTIONS = 16


def cost_us(tree: Path, url: str, options: tuple[str, ...], requests: int) -> float:
    """Return the microseconds of processor time that each request costs the abench of a tree."""
    command = [sys.executable, "-m", "abench", "--quiet", "--json", "-", f"-n{requests}"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as urls:
        if options == ("--urls",):
            urls.writelines(f"{url}{number}\n" for number in range(URLS))
            urls.flush()
            options = ("--urls", urls.name)
        ran = subprocess.run(
            [*command, "-w1", f"-c{CONNECTIONS}", *options, url],
            env={**os.environ, "PYTHONPATH": str(tree)},
            cwd=tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    report = json.loads(ran.stdout)
    (cpu,) = report["client"]["cpu_per_worker"]
    spent_s: float = cpu * report["duration_s"]
    return 1e6 * spent_s / int(report["requests"]["succeeded"])


def main() -> None:
    """Print for each load the medians of both versions, and the ratio with its spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="the tree of the version to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=40_000)
    given = parser.parse_args()
    with null_server() as server:
        for name, options in LOADS.items():
            requests = given.requests // (5 if name == "one connection each" else 1)
            pairs = [
                tuple(cost_us(tree, server.url, options, requests) for tree in (given.before, HERE))
                for _ in range(given.rounds)
            ]
            before, after = (statistics.median(costs) for costs in zip(*pairs, strict=True))
            ratios = sorted(now / then for then, now in pairs)
            spread = f"{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}"
            print(
                f"{name:20} {before:7.2f} us {after:7.2f} us   "
                f"{statistics.median(ratios):.3f} ({spread})"
            )


if __name__ == "__main__":
    main()
