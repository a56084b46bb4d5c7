"""The rows of the page on the models: one load each, for all contenders."""

from benchmarks.loads import Ask
from benchmarks.models.contenders import ALL, CACHED, POOLS, SLOW_S, TWO_CORES
from benchmarks.models.load import ModelLoad
from benchmarks.models.look_closer import OPEN, Once, calls_each, memory_each
from benchmarks.servers import BOTH
from benchmarks.work import Work

DIRECTORY_SIZE = 200
_DIRECTORY = "/directory/"
FILES = {"1k.txt": 1 << 10, "1m.bin": 1 << 20} | {
    f"directory/{number:03}.txt": 1 for number in range(DIRECTORY_SIZE)
}
"""The site: the size of each file by its name."""

SILENT, SILENT_FOR_SELECT, SPEAKING = 990, 900, 10
ON_SLOW_DISK = 64
_PAGE = Ask(16, _DIRECTORY, {"Accept": "text/html"})
_ON_DISK = Ask(ON_SLOW_DISK, number=ON_SLOW_DISK)
_DISK_MS = f"{SLOW_S * 1e3:.0f} ms"
_UNCACHED = tuple(name for name in ALL if name != CACHED)

_ROWS = (
    Work("small-1", "1 KB, 1 connection", ModelLoad(Ask(1)), ALL),
    Work("small-64", "1 KB, 64 connections", ModelLoad(Ask(64)), ALL),
    Work("small-1000", "1 KB, 1,000 connections", ModelLoad(Ask(1_000), lasts=2), ALL),
    Work(
        "silent-990",
        f"1 KB, 1,000 connections of which {SPEAKING} speak",
        ModelLoad(Ask(SPEAKING), lasts=2, silent=SILENT),
        ALL,
        note=f"{SILENT} clients connect and send nothing; then {SPEAKING} others load the server. "
        "A model that passes all of its sockets to the kernel again and again pays for the silent "
        "ones, too. Where each connection needs a thread, a process, or a descriptor below 1,024 "
        "for select, the silent ones take all there are, and others get 503 or are closed. *held*: "
        f"how many of the {SILENT} are open at the end.",
    ),
    Work(
        "silent-900",
        f"1 KB, 910 connections of which {SPEAKING} speak",
        ModelLoad(Ask(SPEAKING), lasts=2, silent=SILENT_FOR_SELECT),
        ("select", "poll", "epoll", "epoll-et"),
        note="So few that select can have all of them.",
    ),
    Work(
        "closing-64",
        "1 KB, 64 at once, a connection each",
        ModelLoad(Ask(64, closing=True)),
        ALL,
    ),
    Work("large-64", "1 MB, 64 connections", ModelLoad(Ask(64, "/1m.bin")), ALL),
    Work(
        "compute",
        f"A page of a directory with {DIRECTORY_SIZE} files, 16 connections",
        ModelLoad(_PAGE, lasts=2),
        ALL,
        note="Computation: the page is made anew for each request, from sorted names to HTML.",
    ),
    Work(
        "compute-2",
        f"A page of a directory with {DIRECTORY_SIZE} files, 16 connections, two cores",
        ModelLoad(_PAGE, lasts=2, server_cores=BOTH, load_cores=BOTH),
        TWO_CORES,
        note="wrk shares both cores, but needs little of them. Threads of one interpreter take "
        "turns with its lock: only models of several processes can use the second core.",
    ),
    Work(
        "slow-64",
        f"1 KB, 64 connections, a disk that takes {_DISK_MS}",
        ModelLoad(_ON_DISK, slow=True),
        _UNCACHED,
        note=f"{ON_SLOW_DISK} requests by ab, one for each connection, until the last response.",
    ),
    Work(
        "memory",
        "What an idle connection costs",
        Once(memory_each),
        ALL,
        note=f"{OPEN} connections, each of which has had a response. Memory that processes share "
        "is divided among them.",
        once=True,
    ),
    Work(
        "calls",
        "System calls",
        Once(calls_each),
        ALL,
        note="For each page of 1 KB, 64 connections, counted by strace, which slows servers down: "
        "with one that has many threads, futex above all.",
        once=True,
    ),
    Work("pool-fast", "1 KB from the page cache, 64 connections", ModelLoad(Ask(64)), POOLS),
    Work(
        "pool-slow",
        f"1 KB from a disk that takes {_DISK_MS}, 64 connections",
        ModelLoad(_ON_DISK, slow=True),
        POOLS,
    ),
)
WORKS = {row.name: row for row in _ROWS}
