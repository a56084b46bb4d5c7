"""A worker as what manages the server knows it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from socket import socket

from aserve.arguments import first_difference
from aserve.config.settings import Settings, SettingsError
from aserve.server.orders import WorkerLink

OF_PROCESSES = ("workers", "model", "by_the_book", "dispatch")
"""Settings that a process keeps for as long as it runs."""
OF_POOLS = ("threads", "queue")
"""Those that a process of a model without an event loop keeps as well."""


@dataclass(eq=False)
class Worker:
    """A worker, and the link to it. is_retired: it ends with its last connection."""

    pid: int
    link: WorkerLink
    settings: Settings
    listeners: Sequence[socket] = ()
    is_retired: bool = False
    started_at: float = field(default_factory=time.monotonic)


def adapted(settings: Settings, worker: Worker) -> Settings:
    """Return settings as a worker can have them: a retired one has another model, or more others.

    Where they do not go together, it keeps its own.
    """
    names = (*OF_PROCESSES, *OF_POOLS)
    if not first_difference(settings, worker.settings, names):
        return settings
    try:
        return replace(settings, **{name: getattr(worker.settings, name) for name in names})
    except SettingsError:
        return worker.settings
