"""A run over several machines with dask.distributed, whose scheduler knows and reaches the nodes.

One share is pinned to each node. A task there starts an ordinary worker process, which generates
the load. The task itself only passes on orders and messages, so that dask itself is not part of a
measurement. A WorkerHandle stands for each node here, so that all the rest, the common start and
the merging too, is the same as with processes on this machine.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

import distributed

from abench.errors import ParameterError, UnreachableError
from abench.plan.plan import Plan
from abench.plan.target import require_printable, shown
from abench.runner import coordinator
from abench.runner.dask_link import DaskLink
from abench.runner.worker_handle import WorkerHandle
from abench.stats.summary import Summary
from abench.version import DISTRIBUTION, abench_version

_CONNECT_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 10.0
_NOISY_LOGGERS = ("distributed", "tornado", "asyncio")


def _silence_loggers() -> None:
    """Turn off the logs of dask: its errors are reported by abench, in one line."""
    for name in [*_NOISY_LOGGERS, *logging.root.manager.loggerDict]:
        if name.partition(".")[0] in _NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _parse_address(scheduler: str) -> tuple[str, int]:
    """Return the host and port of a scheduler; `tcp://`, which dask prints, may precede them."""
    require_printable("--dask", scheduler)
    try:
        parts = urlsplit(scheduler if "://" in scheduler else f"tcp://{scheduler}")
        host, port = parts.hostname or "", parts.port or 0
        host.encode("idna")  # as the resolver will
    except ValueError:  # includes UnicodeError
        host = ""
    if not host or not port or parts.scheme != "tcp" or parts.path:
        raise ParameterError("--dask", f"{shown(scheduler)!r} is not like host:port")
    return host, port


class Cluster:
    """The nodes of a scheduler, of which `size` are used. Each run connects to them anew.

    Making one raises UnreachableError if there is no scheduler, and ParameterError if nodes are
    missing, do not answer, or have another version of abench.
    """

    def __init__(self, scheduler: str, size: int | None) -> None:
        self._host, self._port = _parse_address(scheduler)
        _silence_loggers()
        with self._connect() as client:
            with suppress(TimeoutError):  # nodes that start together with this may still be missing
                client.wait_for_workers(size or 1, timeout=_CONNECT_TIMEOUT_S)
            nodes = sorted(client.scheduler_info(n_workers=-1)["workers"])
            self.size = size or len(nodes)
            if not nodes or self.size > len(nodes):
                raise ParameterError(
                    "--workers", f"{self.size or 1} wanted, but there are {len(nodes)} nodes"
                )
            self._nodes = nodes[: self.size]
            _check_versions(client, self._nodes)

    def run(self, plan: Plan, watch: coordinator.Watcher | None = None) -> Summary:
        """Carry out `plan` on the nodes, and return the merged counts of all of them."""
        free = iter(self._nodes)
        with self._connect() as client, DaskLink(client) as link:

            def start_worker(share: Plan, _others: Sequence[WorkerHandle]) -> WorkerHandle:
                return link.start_worker(next(free), share)

            return coordinator.run_workers(replace(plan, workers=self.size), start_worker, watch)

    @contextmanager
    def _connect(self) -> Iterator[Any]:
        address = f"[{self._host}]" if ":" in self._host else self._host
        try:
            client = distributed.Client(
                f"tcp://{address}:{self._port}", timeout=_CONNECT_TIMEOUT_S, set_as_default=False
            )
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise UnreachableError(self._host, self._port, reason) from None
        try:
            yield client
        finally:
            client.close()


def _check_versions(client: Any, nodes: Sequence[str]) -> None:
    """Ask every node for its version of abench, with a function that a node without it has too."""
    answers = [
        client.submit(
            metadata.version, DISTRIBUTION, workers=[node], allow_other_workers=False, pure=False,
            retries=0,
        )
        for node in nodes
    ]  # fmt: skip
    with client.as_current(), suppress(TimeoutError):
        distributed.wait(answers, timeout=_ANSWER_TIMEOUT_S)
    own = abench_version()
    for node, answer in zip(nodes, answers, strict=True):
        if problem := _problem(answer, own):
            raise ParameterError("--dask", f"{node.rpartition('/')[2]} {problem}")


def _problem(answer: Any, own: str) -> str:
    """Return what is wrong with a node by its answer, "" if nothing is."""
    if answer.status == "error":
        return "has no abench: install it on every node"
    if answer.status != "finished":
        return f"did not answer for {_ANSWER_TIMEOUT_S:.0f} s: it is busy, or hangs"
    other = answer.result()
    return f"has abench {other}, and this is {own}" if other != own else ""
