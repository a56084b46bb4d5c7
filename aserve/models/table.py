"""The I/O models by name. A row names its module, so that only the chosen one is imported."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

DEFAULT = "simulated-proactor"
DISPATCHES = ("queue", "round-robin", "random")
"""How a reactor's threads are given their work: from one queue, or each from its own."""


class Row(NamedTuple):
    """One model.

    on_asyncio: whether it lives on an event loop of asyncio's. has_crew: whether a pool of threads
    does its work, so that their number and the way they are given it are of interest.
    """

    what: str
    module: str = ""
    on_asyncio: bool = False
    has_crew: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options of the command line that only some models have a use for."""
        if self.on_asyncio:
            return frozenset({"--pool", "--no-recall"})
        return frozenset({"--pool", "--dispatch"}) if self.has_crew else frozenset()

    def make(self, *parts: Any) -> Any:
        """Return the model, made of a Site, Limits and Observe, and of a crew's size and manner."""
        return import_module(self.module).Model(*parts)

    def why_not(self) -> str:
        """Return what stands against this model on this system, "" for nothing."""
        ask = getattr(import_module(self.module), "why_not", None) if self.module else None
        return str(ask()) if ask else ""


MODELS: Mapping[str, Row] = {
    DEFAULT: Row("asyncio's Protocol on uvloop; a bounded pool does file work", on_asyncio=True),
    "asyncio": Row("the same on the standard library's loop", on_asyncio=True),
    "blocking": Row("a thread for each connection, bounded", "aserve.models.blocking"),
    "nonblocking": Row("one thread asks every socket in turn", "aserve.models.nonblocking"),
    "select": Row("one thread waits in select(2)", "aserve.models.by_select"),
    "poll": Row("one thread waits in poll(2)", "aserve.models.by_poll"),
    "epoll": Row("one thread waits in epoll(7), level-triggered", "aserve.models.by_epoll"),
    "epoll-et": Row("the same, edge-triggered", "aserve.models.by_epoll_edges"),
    "signal-driven": Row("sockets send real-time signals", "aserve.models.by_signals"),
    "reactor": Row(
        "one thread waits, threads of a pool read, answer and write",
        "aserve.models.reactor",
        has_crew=True,
    ),
    "proactor": Row("the kernel completes reads and writes: io_uring", "aserve.models.proactor"),
    "proactor-aio": Row("epoll, and files by POSIX AIO", "aserve.models.proactor_aio"),
}
