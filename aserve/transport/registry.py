"""The I/O models by name. Each row names its module, so that only the chosen one is imported."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

DEFAULT = "simulated-proactor"
DISPATCHES = ("queue", "round-robin", "random", "least-loaded")
"""How a model gives work to its threads: from one queue, or each thread from its own."""

_COMMAND_LINE = frozenset({"threads", "dispatch"})
"""Those of the settings below that are options of the command line."""


class ModelInfo(NamedTuple):
    """One I/O model.

    module and class_name: where its server is. uses_event_loop: whether it runs on an event loop of
    asyncio's. settings: names of the settings that its server takes, besides a site and limits.
    forks: whether its server forks for each client, so that its process has no other threads.
    workers: how many workers there are unless it is said; if several, they share their listeners.
    default_threads: how many threads it has unless told, 0 for a model that can do without.
    needs_main_thread: whether its server has signal handlers, which Python calls there only.
    never_waits: whether its thread goes on asking where there is nothing to do.
    """

    summary: str
    module: str = ""
    class_name: str = ""
    uses_event_loop: bool = False
    settings: tuple[str, ...] = ()
    forks: bool = False
    workers: int = 1
    default_threads: int = 8
    needs_main_thread: bool = False
    never_waits: bool = False

    @property
    def needs_processes(self) -> bool:
        """Whether its processes are started by a supervisor, which a program has not."""
        return self.forks or self.shares_listeners

    @property
    def shares_listeners(self) -> bool:
        """Whether its workers accept on the same sockets, instead of one for each of them."""
        return self.workers > 1

    @property
    def options(self) -> frozenset[str]:
        """The options of the command line that this model supports and not all models do."""
        if self.uses_event_loop:
            return frozenset({"--threads", "--response-cache"})
        return frozenset(f"--{name}" for name in self.settings if name in _COMMAND_LINE)

    def create_server(self, *parts: Any) -> Any:
        """Return a new server.

        parts: a Site, Limits and a ResponseObserver or None, then the values of its settings.
        """
        return getattr(import_module(self.module), self.class_name)(*parts)

    def unavailable_reason(self) -> str:
        """Return why this model cannot run on this system, "" if it can."""
        reason = self._of_module("unavailable_reason")
        return str(reason()) if reason else ""

    @property
    def signals(self) -> frozenset[int]:
        """The signals that every thread of the process must block, before any is started."""
        return self._of_module("SIGNALS") or frozenset()

    def _of_module(self, name: str) -> Any:
        return getattr(import_module(self.module), name, None) if self.module else None


BY_THE_BOOK: Mapping[str, ModelInfo] = {
    DEFAULT: ModelInfo(
        "one thread reads and writes; a thread pool makes every response",
        "aserve.transport.models.by_the_book.simulated_proactor",
        "BookSimulatedProactorServer",
        settings=("threads", "dispatch", "queue"),
    ),
    "reactor": ModelInfo(
        "one thread polls; a thread pool accepts, reads, and writes when polled again",
        "aserve.transport.models.by_the_book.reactor",
        "BookReactorServer",
        settings=("threads", "dispatch", "queue"),
    ),
    "signal-driven": ModelInfo(
        "a signal handler serves; the main thread does other work",
        "aserve.transport.models.by_the_book.signal_driven",
        "BookSignalDrivenServer",
        needs_main_thread=True,
    ),
}
"""Models that have a second form, which takes each step as textbooks number them."""

MODELS: Mapping[str, ModelInfo] = {
    DEFAULT: ModelInfo(
        "asyncio protocols on uvloop, and a bounded thread pool for files", uses_event_loop=True
    ),
    "asyncio": ModelInfo("the same on the standard library's event loop", uses_event_loop=True),
    "iterative": ModelInfo(
        "one thread serves one client after the other",
        "aserve.transport.models.iterative",
        "IterativeServer",
    ),
    "fork": ModelInfo(
        "one process per connection, up to a limit",
        "aserve.transport.models.fork",
        "ForkServer",
        forks=True,
    ),
    "prefork": ModelInfo(
        "processes that all wait in accept, each iterative",
        "aserve.transport.models.prefork",
        "PreforkServer",
        workers=8,
    ),
    "blocking": ModelInfo(
        "one thread per connection, up to a limit",
        "aserve.transport.models.blocking",
        "BlockingServer",
    ),
    "nonblocking": ModelInfo(
        "one thread tries every socket in turn",
        "aserve.transport.models.nonblocking",
        "NonblockingServer",
        never_waits=True,
    ),
    "select": ModelInfo(
        "one thread waits in select(2)", "aserve.transport.models.select", "SelectServer"
    ),
    "poll": ModelInfo("one thread waits in poll(2)", "aserve.transport.models.poll", "PollServer"),
    "epoll": ModelInfo(
        "one thread waits in epoll(7), level-triggered",
        "aserve.transport.models.epoll",
        "EpollServer",
    ),
    "epoll-et": ModelInfo(
        "the same, edge-triggered", "aserve.transport.models.epoll_et", "EdgeTriggeredEpollServer"
    ),
    "signal-driven": ModelInfo(
        "sockets send real-time signals",
        "aserve.transport.models.signal_driven",
        "SignalDrivenServer",
    ),
    "reactor": ModelInfo(
        "one thread polls; a thread pool reads, handles and writes",
        "aserve.transport.models.reactor",
        "ReactorServer",
        settings=("threads", "dispatch", "queue"),
    ),
    "multi-reactor": ModelInfo(
        "one thread accepts; each thread of a pool has an epoll of its own",
        "aserve.transport.models.multi_reactor",
        "MultiReactorServer",
        settings=("threads",),
    ),
    "proactor": ModelInfo(
        "the kernel completes reads and writes: io_uring",
        "aserve.transport.models.proactor",
        "ProactorServer",
        settings=("threads", "dispatch", "queue"),
        default_threads=0,
    ),
    "proactor-aio": ModelInfo(
        "POSIX AIO and signals; a thread pool makes the responses",
        "aserve.transport.models.proactor_aio",
        "AioProactorServer",
        settings=("threads", "dispatch", "queue"),
    ),
}


def default_workers(model: str) -> int:
    """Return how many workers there are unless it is said; 1 for a model that does not exist."""
    return MODELS[model].workers if model in MODELS else 1


def find_model(name: str, *, by_the_book: bool = False) -> ModelInfo:
    """Return a model, in the form that books describe where that is wanted."""
    return BY_THE_BOOK[name] if by_the_book else MODELS[name]
