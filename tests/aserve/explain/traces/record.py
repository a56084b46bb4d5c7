"""Record the traces that the tests read: python tests/aserve/explain/traces/record.py."""

import json
import os
import sys
import tempfile
from pathlib import Path

from aserve.explain import capture as capture_module
from aserve.explain.capture import ServerOptions, capture
from aserve.explain.collect import collect
from aserve.explain.scenario import Scenario

HERE = Path(__file__).parent
BEFORE_S = 1.2  # a wait that began so long before the first client connects is kept
WAITS = ("epoll_wait", "poll", "io_uring_enter")
TRACES = {
    "blocking": (ServerOptions("blocking"), Scenario(clients=2)),
    "epoll": (ServerOptions("epoll"), Scenario()),
    "signal-driven": (ServerOptions("signal-driven"), Scenario()),
    "reactor": (ServerOptions("reactor", by_the_book=True), Scenario()),
    "proactor": (ServerOptions("proactor"), Scenario()),
}


def _is_kept(line: str, start: float, end: float) -> bool:
    """Tell whether a line of strace or of the server is about the time of the trace."""
    if line.startswith("["):
        at, _, kind, *_ = json.loads(line)
        return kind == "thread" or (start <= at <= end)
    at = float(line.split()[1])
    is_early = at < start + BEFORE_S
    is_wait = any(f" {name}" in line for name in WAITS)
    return start <= at <= end and "/marks>" not in line and (is_wait or not is_early)


def record(name: str) -> None:
    """Record one trace."""

    def keep(temporary, clients, rests, end, *, is_libuv):
        start = clients[0].at - BEFORE_S
        target = HERE / name
        target.mkdir(exist_ok=True)
        for file in ("calls", "marks"):
            lines = (temporary / file).read_text(errors="replace").splitlines(keepends=True)
            kept = (line for line in lines if _is_kept(line, start, end + 0.1))
            (target / file).write_text("".join(kept).replace(str(Path.cwd()), "/aserve"))
        facts = [
            [event.at, event.thread, event.phrase.template, dict(event.phrase.values),
             event.activity.name, event.peer]
            for event in clients
        ]  # fmt: skip
        played = {"end": end, "rests": rests, "events": facts}
        (target / "clients.json").write_text(json.dumps(played, indent=0) + "\n")
        return collect(temporary, clients, rests, end, is_libuv=is_libuv)

    capture_module.collect = keep
    with tempfile.TemporaryDirectory(prefix="site-") as directory:
        (Path(directory) / "a.txt").write_text("hello")
        os.utime(Path(directory) / "a.txt", (1e9, 1e9))
        capture(Path(directory), "/a.txt", *TRACES[name])


if __name__ == "__main__":
    for one in sys.argv[1:] or TRACES:
        record(one)
