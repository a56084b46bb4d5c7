"""The I/O models by name. A row names its module, so that only the chosen one is imported."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

DEFAULT = "simulated-proactor"
DISPATCHES = ("queue", "round-robin", "random")
"""How a reactor's threads are given their work: from one queue, or each from its own."""


class ModelInfo(NamedTuple):
    """One model.

    on_asyncio: whether it lives on an event loop of asyncio's. has_crew: whether a pool of threads
    does its work, so that their number and the way they are given it are of interest.
    """

    summary: str
    module: str = ""
    uses_event_loop: bool = False
    uses_thread_pool: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options of the command line that only some models have a use for."""
        if self.uses_event_loop:
            return frozenset({"--threads", "--response-cache"})
        return frozenset({"--threads", "--dispatch"}) if self.uses_thread_pool else frozenset()

    def create_server(self, *parts: Any) -> Any:
        """Return the model, made of a Site, Limits and Observe, and of a crew's size and manner."""
        return import_module(self.module).Model(*parts)

    def unavailable_reason(self) -> str:
        """Return what stands against this model on this system, "" for nothing."""
        ask = (
            getattr(import_module(self.module), "unavailable_reason", None) if self.module else None
        )
        return str(ask()) if ask else ""


MODELS: Mapping[str, ModelInfo] = {
    DEFAULT: ModelInfo(
        "asyncio's Protocol on uvloop; a bounded pool does file work", uses_event_loop=True
    ),
    "asyncio": ModelInfo("the same on the standard library's loop", uses_event_loop=True),
    "blocking": ModelInfo(
        "a thread for each connection, bounded", "aserve.transport.models.blocking"
    ),
    "nonblocking": ModelInfo(
        "one thread asks every socket in turn", "aserve.transport.models.nonblocking"
    ),
    "select": ModelInfo("one thread waits in select(2)", "aserve.transport.models.select"),
    "poll": ModelInfo("one thread waits in poll(2)", "aserve.transport.models.poll"),
    "epoll": ModelInfo(
        "one thread waits in epoll(7), level-triggered", "aserve.transport.models.epoll"
    ),
    "epoll-et": ModelInfo("the same, edge-triggered", "aserve.transport.models.epoll_et"),
    "signal-driven": ModelInfo(
        "sockets send real-time signals", "aserve.transport.models.signal_driven"
    ),
    "reactor": ModelInfo(
        "one thread waits, threads of a pool read, answer and write",
        "aserve.transport.models.reactor",
        uses_thread_pool=True,
    ),
    "proactor": ModelInfo(
        "the kernel completes reads and writes: io_uring", "aserve.transport.models.proactor"
    ),
    "proactor-aio": ModelInfo(
        "epoll, and files by POSIX AIO", "aserve.transport.models.proactor_aio"
    ),
}
