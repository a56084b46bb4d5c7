"""What is compared: each model, with the options under which it is worth a row of its own."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from aserve.transport.registry import BY_THE_BOOK, DEFAULT, MODELS, ModelInfo
from benchmarks.servers import Server

SLOW_S = 0.05
"""Seconds that the slow disk takes for each file."""

CACHED, UNCACHED = f"{DEFAULT}, cached", f"{DEFAULT}, uncached"
POOL_SIZES = (1, 2, 4, 8, 16, 64)


@dataclass(frozen=True, slots=True)
class Contender:
    """Options of aserve, and why it cannot run on this system with them, if so."""

    words: str
    unavailable: str = ""

    def server(self, name: str, *, slow: bool = False) -> Server:
        """Return how it is started; on a slow disk, if wanted."""
        module = f"benchmarks.slow {SLOW_S}" if slow else "aserve"
        command = f"python -m {module} {{root}} --port {{port}} --quiet {self.words}"
        return Server(name, "aserve", command)


def _each_model() -> Iterator[tuple[str, Contender]]:
    """Yield every model, and the forms that books give to some of them."""
    yield CACHED, Contender(f"--model {DEFAULT}")
    for name, info in MODELS.items():
        uncached = " --response-cache off" if info.uses_event_loop else ""
        shown = UNCACHED if name == DEFAULT else name
        yield shown, _contender(info, f"--model {name}{uncached}")
    yield "proactor, 8 threads", _contender(MODELS["proactor"], "--model proactor --threads 8")
    for name, info in BY_THE_BOOK.items():
        yield f"{name}, by the book", _contender(info, f"--model {name} --by-the-book")


def _for_two_cores() -> Iterator[tuple[str, Contender]]:
    """Yield what may use two cores on purpose: processes, or a loop for each core."""
    for name in (DEFAULT, "epoll"):
        uncached = " --response-cache off" if MODELS[name].uses_event_loop else ""
        words = f"--model {name} --workers 2{uncached}"
        yield f"{name}, 2 workers", _contender(MODELS[name], words)
    words = "--model multi-reactor --threads 2"
    yield "multi-reactor, 2 threads", _contender(MODELS["multi-reactor"], words)


def _contender(info: ModelInfo, words: str) -> Contender:
    return Contender(words, info.unavailable_reason())


@functools.cache
def contenders() -> dict[str, Contender]:
    """Return all of them by the names that they are shown under."""
    pools = {str(size): Contender(f"--model reactor --threads {size}") for size in POOL_SIZES}
    return dict(_each_model()) | dict(_for_two_cores()) | pools


ALL = tuple(name for name, _ in _each_model())
TWO_CORES = (*ALL, *(name for name, _ in _for_two_cores()))
POOLS = tuple(map(str, POOL_SIZES))
