"""What compression costs a server and its clients: its first response, and all later ones."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.browser_headers import BROWSER
from benchmarks.compression import samples
from benchmarks.compression.replies import BROWSERS, GZIP_ONLY, Client
from benchmarks.compression.samples import MIXED, NUMBER, PAGE, SMALL
from benchmarks.idle import KIB
from benchmarks.loads import Ask, load
from benchmarks.processes import NoMeasurement, processor_seconds
from benchmarks.servers import Running, Server, running

FIRSTS = 8
"""Files of 1 MB of which each is asked for once."""

CALM_RATE = 8
"""Files of 1 MB that are asked for in each second beside another client."""

_SLICES = 2
_STEP_S = 0.25
_LATER_S = 1.0
_QUIET = 0.02
"""The share of a processor below which a server does nothing."""

_PATIENCE_S = 20.0
_OTHER_CLIENT = Ask(1, f"/{SMALL}")


def measure_cached(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return what a file costs that was compressed before, and one of its size as it is.

    The two are loaded in turns, so that drift of the machine affects both.
    """
    folder = samples.prepared(root, server)
    with running(server, folder) as one:
        size = _settled_size(one, folder)
        plain = {name: value for name, value in BROWSER.items() if name != "Accept-Encoding"}
        asks = {
            "us": Ask(64, f"/{PAGE}", headers=BROWSER),
            "plain_us": Ask(64, f"/{samples.incompressible(folder, size)}", headers=plain),
        }
        for ask in asks.values():
            load("wrk", ask, one.port, 1)
        slices = [_costs(one, asks, seconds) for _ in range(_SLICES)]
    found = {name: sum(costs[name] for costs in slices) / _SLICES for name in asks}
    return found | {"plain_times": found["us"] / found["plain_us"], "wire_kib": size / KIB}


def _costs(one: Running, asks: dict[str, Ask], seconds: int) -> dict[str, float]:
    """Return microseconds of the server's processor time for a request of each kind."""
    found = {}
    for name, ask in asks.items():
        used = processor_seconds(one.pid)
        counted = load("wrk", ask, one.port, seconds)
        found[name] = (processor_seconds(one.pid) - used) / counted.replies * 1e6
    return found


def _settled_size(one: Running, folder: Path) -> int:
    """Return how many bytes the page has when the server has nothing left to compress."""
    with Client(one.port) as client:
        client.get(folder, PAGE)
        wait_until_quiet(one.pid)
        return len(client.get(folder, PAGE).body)


def measure_first(accept: str, server: Server, root: Path, _seconds: int) -> dict[str, float]:
    """Return what the first response of a file costs that no one has asked for before."""
    folder = samples.prepared(root, server)
    times, costs, sizes = [], [], []
    with running(server, folder) as one, Client(one.port, accept) as client:
        client.get(folder, PAGE)  # what a server loads for its first response is not a file's cost
        wait_until_quiet(one.pid)
        begun = processor_seconds(one.pid)
        for number in range(FIRSTS):
            wait_until_quiet(one.pid)  # of what it does for the files before
            used = processor_seconds(one.pid)
            reply = client.get(folder, f"{number}.json")
            costs.append(processor_seconds(one.pid) - used)
            times.append(reply.seconds)
            sizes.append(len(reply.body))
        time.sleep(_LATER_S)
        wait_until_quiet(one.pid)
        later = processor_seconds(one.pid) - begun - sum(costs)
    return {
        "last_byte_ms": median(times) * 1e3,
        "reply_cpu_ms": median(costs) * 1e3,
        "wire_kib": median(sizes) / KIB,
        "later_cpu_ms": max(later, 0) / FIRSTS * 1e3,
    }


measure_first_gzip = partial(measure_first, GZIP_ONLY)
measure_first_browser = partial(measure_first, BROWSERS)


def measure_beside(server: Server, root: Path, seconds: int) -> dict[str, float]:
    """Return how long another client waits, alone and beside files that are first compressed."""
    folder = samples.prepared(root, server)
    with running(server, folder) as one:
        load("wrk", _OTHER_CLIENT, one.port, 1)
        alone = load("wrk", _OTHER_CLIENT, one.port, seconds)
        with _first_requests(one.port, folder):
            beside = load("wrk", _OTHER_CLIENT, one.port, seconds)
    return {
        "p99_times": beside.p99_ms / alone.p99_ms,
        "p99_alone_ms": alone.p99_ms,
        "p99_beside_ms": beside.p99_ms,
        "max_alone_ms": alone.max_ms,
        "max_beside_ms": beside.max_ms,
    }


@contextmanager
def _first_requests(port: int, folder: Path) -> Iterator[None]:
    """Ask for one file after the other, CALM_RATE in a second, until the block ends."""
    is_over = threading.Event()
    failed: list[NoMeasurement] = []

    def request() -> None:
        try:
            with Client(port) as client:
                begun = time.monotonic()
                for number in range(NUMBER):
                    client.get(folder, f"{number}.json")
                    if is_over.wait(max(0, begun + (number + 1) / CALM_RATE - time.monotonic())):
                        return
            raise NoMeasurement(f"{NUMBER} files were too few: load it for fewer seconds")
        except NoMeasurement as error:
            failed.append(error)

    thread = threading.Thread(target=request)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    if failed:
        raise failed[0]


def measure_bytes(server: Server, root: Path, _seconds: int) -> dict[str, float]:
    """Return how many bytes mixed files have on the wire: first, a second later, and in the end."""
    folder = samples.prepared(root, server)
    with running(server, folder) as one, Client(one.port) as client:

        def size() -> int:
            return sum(len(client.get(folder, name, coded=False).body) for name in MIXED)

        first = size()
        time.sleep(_LATER_S)
        second = size()
        wait_until_quiet(one.pid)
        last = size()
    if first == sum((folder / name).stat().st_size for name in MIXED):
        raise NoMeasurement("it does not compress")
    best = {name: second / least for name, least in samples.offline(folder).items()}
    return {"second_kib": second / KIB, "first_kib": first / KIB, "last_kib": last / KIB} | best


def wait_until_quiet(pid: int) -> None:
    """Return when a server uses hardly any processor time, or after _PATIENCE_S."""
    end_of_patience = time.monotonic() + _PATIENCE_S
    used = processor_seconds(pid)
    while time.monotonic() < end_of_patience:
        time.sleep(_STEP_S)
        before, used = used, processor_seconds(pid)
        if used - before < _QUIET * _STEP_S:
            return
