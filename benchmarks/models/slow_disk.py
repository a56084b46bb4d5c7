"""How many clients a model serves at once from a slow disk, and why: what its figure should be."""

from benchmarks.figures import medians, shown
from benchmarks.models.contenders import SLOW_S, UNCACHED
from benchmarks.models.tables import NOT_MEASURED, contenders_of
from benchmarks.models.works import ON_SLOW_DISK
from benchmarks.results import Result
from benchmarks.tables import Rows

_THREADS = 8
"""Threads of a pool, and processes of prefork, unless told."""

_ONE_THREAD = "one thread opens every file, and all other clients wait meanwhile"
_POOL = "each thread of the pool waits for a file"

WAITS: dict[str, tuple[int, str]] = {
    UNCACHED: (_THREADS, "what may wait is handed to the pool, each thread of which waits"),
    "asyncio": (_THREADS, "what may wait is handed to the pool, each thread of which waits"),
    "iterative": (1, "one client after the other"),
    "fork": (ON_SLOW_DISK, "each client's process waits for its own file; to fork takes time, too"),
    "prefork": (_THREADS, "each process waits for one file"),
    "blocking": (ON_SLOW_DISK, "each client's thread waits for its own file"),
    "nonblocking": (1, f"only calls on sockets do not wait: {_ONE_THREAD}"),
    "select": (1, f"to the kernel a file is always ready: {_ONE_THREAD}"),
    "poll": (1, f"to the kernel a file is always ready: {_ONE_THREAD}"),
    "epoll": (1, f"to the kernel a file is always ready: {_ONE_THREAD}"),
    "epoll-et": (1, f"to the kernel a file is always ready: {_ONE_THREAD}"),
    "signal-driven": (1, f"files send no signals: {_ONE_THREAD}"),
    "signal-driven, by the book": (1, "the handler opens every file, and no other runs meanwhile"),
    "reactor": (_THREADS, _POOL),
    "reactor, by the book": (_THREADS, _POOL),
    "simulated-proactor, by the book": (_THREADS, _POOL),
    "multi-reactor": (_THREADS, "each loop waits for a file, and its own clients with it"),
    "proactor": (
        1,
        (
            "io_uring reads files, but the ring's thread opens them, and all clients wait for it. "
            "What was started by then is submitted after each wait: otherwise all responses would "
            "leave with the last one"
        ),
    ),
    "proactor, 8 threads": (
        _THREADS,
        "the ring's thread hands each completion to a worker, which waits",
    ),
    "proactor-aio": (_THREADS, "aio_read reads files, but a worker opens them, and waits"),
}


def rows(result: Result) -> Rows:
    """Return for each model how many files it waits for at once, and what follows from that."""
    found = medians(result.rounds, "rate")
    table = [["model", "waits at once for", "so, pages/s at most", "measured", "because"]]
    for name in contenders_of(result):
        if name in WAITS:
            number, why = WAITS[name]
            measured = shown(found[name]) if name in found else NOT_MEASURED
            table.append([name, str(number), shown(number / SLOW_S), measured, why])
    return table
