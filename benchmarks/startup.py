"""How long a server takes to its first response, and its memory then."""

import compileall
import time
from pathlib import Path

from benchmarks.idle import MIB, settled
from benchmarks.loads import Ask, check
from benchmarks.processes import NoMeasurement
from benchmarks.servers import Server, launched

_TIMEOUT_S = 20.0
_PACKAGE = Path(__file__).parents[1] / "aserve"


def measure(server: Server, root: Path, _seconds: int) -> dict[str, float]:
    """Start a server: milliseconds from the command to a response, and resident MiB."""
    # As pip does when it installs; a checkout's modules may never have been compiled.
    compileall.compile_dir(_PACKAGE, quiet=1)
    begun = time.perf_counter()
    with launched(server, root) as one:
        while not answers(one.port, root):
            if time.perf_counter() - begun > _TIMEOUT_S:
                raise NoMeasurement(f"no response in {_TIMEOUT_S:.0f} s")
            time.sleep(0.001)
        taken = time.perf_counter() - begun
        return {"start_ms": taken * 1e3, "resident_mib": settled(one.pid) / MIB}


def answers(port: int, root: Path) -> bool:
    """Return whether a request is answered with the file by now."""
    try:
        check(Ask(1), port, root)
    except NoMeasurement:
        return False
    return True
