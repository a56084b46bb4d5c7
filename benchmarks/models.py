"""Measure every I/O model of aserve under the same load, and write docs/models.md.

One core for the server and one for the load, interleaved rounds, medians. Each figure is of the
middle of a load, when all connections stand. About 15 minutes; --quick looks whether everything
works, and keeps nothing.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS
from benchmarks import models_page
from benchmarks.figures import medians, shown
from benchmarks.loads import Ask, check, finished, loading
from benchmarks.measure import turned
from benchmarks.processes import (
    NoMeasurement,
    allow_descriptors,
    family,
    processor_seconds,
    resident,
)
from benchmarks.results import conditions
from benchmarks.servers import HERE, LOAD_CORE, Running, Server, running
from benchmarks.site import site

FILE = Path("benchmarks/results-models/models.json")
SLOW_S = 0.05
THREADS = (1, 2, 4, 8, 16, 64)
_OPEN = 400  # connections, less than the blocking model has threads for
_told = Console(stderr=True)

UNCACHED = f"{DEFAULT}, uncached"
CACHED = f"{DEFAULT}, cached"


@dataclass(frozen=True, slots=True)
class Work:
    """A load for all contenders, on a disk that may be slow."""

    name: str
    title: str
    ask: Ask
    slow: bool = False


WORKS = (
    Work("small-1", "1 KB, 1 connection", Ask(1)),
    Work("small-64", "1 KB, 64 connections", Ask(64)),
    Work("small-1000", "1 KB, 1,000 connections", Ask(1_000)),
    Work("closing-64", "1 KB, 64 at once, a connection each", Ask(64, closing=True)),
    Work("large-64", "1 MB, 64 connections", Ask(64, "/1m.bin")),
    Work("slow-64", "1 KB, 64 connections, a disk that takes 50 ms", Ask(64), slow=True),
)
POOLS = (
    Work("pool-fast", "1 KB from the page cache, 64 connections", Ask(64)),
    Work("pool-slow", "1 KB from a disk that takes 50 ms, 64 connections", Ask(64), slow=True),
)


def contenders() -> dict[str, str]:
    """Return the options of each model that this system permits, by the name it is shown under."""
    words = {
        CACHED: f"--model {DEFAULT}",
        UNCACHED: f"--model {DEFAULT} --response-cache off",
    }
    for name, row in MODELS.items():
        if name != DEFAULT:
            if why := row.unavailable_reason():
                _told.print(f"{name} is left out: {why}")
            else:
                words[name] = f"--model {name}" + " --response-cache off" * row.uses_event_loop
    if "proactor" in words:
        words["proactor, 8 threads"] = "--model proactor --threads 8"
    words |= {f"{name}, by the book": f"--model {name} --by-the-book" for name in BY_THE_BOOK}
    return words


def pools() -> dict[str, str]:
    """Return the reactor with pools of several sizes."""
    return {f"{number}": f"--model reactor --threads {number}" for number in THREADS}


def server(name: str, words: str, *, slow: bool) -> Server:
    """Return how a contender is started."""
    module = f"benchmarks.slow {SLOW_S}" if slow else "aserve"
    return Server(name, "aserve", f"python -m {module} {{root}} --port {{port}} --quiet {words}")


Figures = dict[str, float]


def one_round(one: Running, work: Work, seconds: float) -> Figures:
    """Load a server, and measure it in the middle of the load.

    Longer for a slow disk, where one thread waits 64 times before its first response.
    """
    seconds += 4 * work.slow
    with loading("wrk", work.ask, one.port, int(seconds) + 1) as load:
        time.sleep(0.4)
        before, begun = _seen(one.pid), time.perf_counter()
        time.sleep(seconds)
        after, took = _seen(one.pid), time.perf_counter() - begun
        counted = finished("wrk", load)
    rate = counted.replies / counted.seconds
    pages = rate * took
    return {
        "rate": rate,
        "us": (after["cpu"] - before["cpu"]) / pages * 1e6,
        "switches": max(0.0, after["switches"] - before["switches"]) / pages,
        "threads": after["threads"],
        "p99_ms": counted.p99_ms,
    }


def _seen(pid: int) -> Figures:
    """Return processor seconds, context switches and threads of a process and its children."""
    switches = threads = 0
    for one in family(pid):
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with suppress(OSError):
                    switches += sum(map(int, _SWITCHES.findall((task / "status").read_text())))
                    threads += 1
    return {"cpu": processor_seconds(pid), "switches": switches, "threads": threads}


_SWITCHES = re.compile(r"ctxt_switches:\s+(\d+)")


def calls_each(one: Running, work: Work) -> Figures:
    """Count system calls for each page, where strace may be attached."""
    tracer = shutil.which("strace")
    if not tracer:
        return {}
    words = [tracer, "-f", "-c", "-U", "name,calls", "-p", str(one.pid)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    try:
        with loading("wrk", work.ask, one.port, 1) as load:
            counted = finished("wrk", load)
    finally:
        process.send_signal(signal.SIGINT)
        _, table = process.communicate()
    found = {name: int(calls) for name, calls in _CALLS.findall(table) if name != "total"}
    if not found:
        return {}
    return {f"call {name}": calls / counted.replies for name, calls in found.items()} | {
        "calls": sum(found.values()) / counted.replies
    }


_CALLS = re.compile(r"^\s*([a-z_0-9]+)\s+(\d+)\s*$", re.MULTILINE)


def memory_each(one: Running, work: Work) -> Figures:
    """Return the memory of an idle connection that has had a response."""
    before = resident(one.pid)
    with ExitStack() as stack:
        for _ in range(_OPEN):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", one.port), 20))
            client.sendall(f"GET {work.ask.target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            client.recv(65_536)
        return {"kib_each": (resident(one.pid) - before) / _OPEN / 1_024}


Rounds = dict[str, dict[str, list[float]]]


@dataclass(slots=True)
class Found:
    """What was found for one work: contender, figure, its value in each round; and why not."""

    rounds: Rounds
    thrown_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """On which site, how often and how long; tell is called with what comes next."""

    root: Path
    rounds: int
    seconds: float
    tell: Callable[[str], None]


def measure(work: Work, words: dict[str, str], plan: Plan) -> Found:
    """Measure all contenders in turns."""
    found, tell = Found({}, {}), plan.tell
    with ExitStack() as stack:
        there: dict[str, Running] = {}
        for name, said in words.items():
            tell(f"{work.title}: {name}")
            with _noted(found, name):
                one = stack.enter_context(running(server(name, said, slow=work.slow), plan.root))
                stack.callback(_signal, one, signal.SIGCONT)  # so that it can be ended
                check(work.ask, one.port, plan.root)
                _signal(one, signal.SIGSTOP)
                there[name] = one
        for number in range(plan.rounds):
            for name in turned(list(there), number):
                tell(f"{work.title}: {name}")
                with _noted(found, name), _awake(there[name]):
                    for figure, value in one_round(there[name], work, plan.seconds).items():
                        found.rounds.setdefault(name, {}).setdefault(figure, []).append(value)
                    # The server still works on unanswered requests: not in the next measurement.
                    time.sleep(1.1 * SLOW_S * work.ask.connections if work.slow else 0)
        if work.name == "small-64":
            for name in found.rounds:
                _look_closer(found, name, there[name], work)
    return found


def _look_closer(found: Found, name: str, one: Running, work: Work) -> None:
    """Measure what needs a load of its own, once."""
    for more in (memory_each, calls_each):
        with _noted(found, name), _awake(one):
            for figure, value in more(one, work).items():
                found.rounds[name][figure] = [value]


@contextmanager
def _awake(one: Running) -> Iterator[None]:
    """Let a server run for as long as it is measured.

    A server that polls takes the core from the others even without requests.
    """
    _signal(one, signal.SIGCONT)
    try:
        yield
    finally:
        _signal(one, signal.SIGSTOP)


def _signal(one: Running, number: signal.Signals) -> None:
    for pid in family(one.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def _noted(found: Found, name: str) -> Iterator[None]:
    try:
        yield
    except (NoMeasurement, OSError) as reason:
        found.thrown_out[name] = str(reason)


def main() -> int:
    """Measure or only render; return the exit code."""
    options = parsed()
    if options.render:
        models_page.write(HERE.parent, json.loads((HERE.parent / FILE).read_text()))
        return 0
    allow_descriptors()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with suppress(OSError):
        os.sched_setaffinity(0, {int(LOAD_CORE)})
    wanted = [work for work in (*WORKS, *POOLS) if not options.only or work.name in options.only]
    plain: dict[str, Any] = {"conditions": conditions(), "rounds": options.rounds, "works": {}}
    if (HERE.parent / FILE).exists() and options.only:
        plain = json.loads((HERE.parent / FILE).read_text())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    fair, sized = contenders(), pools()
    words = {work.name: sized if work in POOLS else fair for work in wanted}
    steps = sum(map(len, words.values())) * (options.rounds + 1)
    bar = Progress(*columns, TimeElapsedColumn(), console=_told)
    try:
        with site() as root, bar as progress:
            task = progress.add_task("", total=steps)

            def tell(text: str) -> None:
                progress.update(task, advance=1, description=text)

            plan = Plan(root, options.rounds, options.seconds, tell)
            for work in wanted:
                found = measure(work, words[work.name], plan)
                _print(work, found)
                kept = {"title": work.title, "rounds": found.rounds, "not": found.thrown_out}
                plain["works"][work.name] = kept
    except KeyboardInterrupt:
        _told.print("Stopped.")
        return 130
    if not options.quick:
        (HERE.parent / FILE).parent.mkdir(parents=True, exist_ok=True)
        (HERE.parent / FILE).write_text(json.dumps(_rounded(plain), indent=1) + "\n")
        models_page.write(HERE.parent, plain)
    return 0


def _stop(*_: object) -> None:
    """Stop at the first signal, and ignore others while processes are being ended."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _print(work: Work, found: Found) -> None:
    _told.print(f"[bold]{work.title}[/]")
    rates, costs = medians(found.rounds, "rate"), medians(found.rounds, "us")
    for name, rate in sorted(rates.items(), key=lambda pair: -pair[1]):
        _told.print(f"  {name:<28} {shown(rate):>9}/s  {shown(costs[name]):>7} us")
    for name, why in found.thrown_out.items():
        _told.print(f"  {name}: {why}", style="yellow")


def _rounded(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _rounded(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_rounded(value) for value in plain]
    return float(f"{plain:.5g}") if isinstance(plain, float) else plain


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    names = ", ".join(work.name for work in (*WORKS, *POOLS))
    parser.add_argument("--rounds", type=int, default=3, help="how often (3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load (1)")
    parser.add_argument("--only", action="append", metavar="WORK", help=f"repeatable: {names}")
    parser.add_argument("--quick", action="store_true", help="one round, not kept")
    parser.add_argument("--render", action="store_true", help="only write the page anew")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


if __name__ == "__main__":
    sys.exit(main())
