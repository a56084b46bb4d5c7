"""One model under one load: what it served, what that cost, and what failed."""

import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from benchmarks.kinds import Probe, command_of
from benchmarks.loads import HOST, Ask, Counted, count_failures_of_wrk, finished, loading
from benchmarks.models.contenders import contenders
from benchmarks.models.paused import awake, paused
from benchmarks.processes import family, processor_seconds
from benchmarks.servers import LOAD_CORE, SERVER_CORE, Running

_SETTLED_S = 0.3  # until all connections stand, before anything is measured
_TAIL_S = 0.15  # of the load, after what is measured
_CONNECTING_S = 5.0  # until the silent clients are connected
_ADDRESSES = [f"127.0.0.{number}" for number in range(2, 10)]  # a server limits one address
_SWITCHES = re.compile(r"ctxt_switches:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """A load on one contender, which stands still while others are measured.

    lasts: how many times as long as others. silent: connections that never send anything. slow:
    whether the disk is. A load with a number of requests is one by ab, and measured as a whole.
    """

    ask: Ask
    lasts: int = 1
    silent: int = 0
    slow: bool = False
    server_cores: str = SERVER_CORE
    load_cores: str = LOAD_CORE

    @contextmanager
    def ready(self, name: str, root: Path, seconds: int) -> Iterator[Probe]:
        """Start the server, and stop it until its rounds."""
        with paused(name, self.ask, root, self.server_cores, slow=self.slow) as one:
            yield partial(self._round, one, seconds * self.lasts)

    def command(self, name: str, seconds: int) -> str:  # noqa: ARG002 - runs until it is ended
        """Return the command of a server."""
        return contenders()[name].server(name, slow=self.slow).command

    def load_command(self, seconds: int) -> str:
        """Return the command of the load generator."""
        return command_of(self._tool, self.ask, seconds * self.lasts)

    @property
    def _tool(self) -> str:
        return "ab" if self.ask.number else "wrk"

    def _round(self, one: Running, seconds: int) -> dict[str, float]:
        with awake(one), silent_clients(one.port, self.silent) as silent:
            measured = self._whole if self.ask.number else self._middle
            counted, figures = measured(one, seconds)
            if silent:
                figures["held"] = count_open(silent)
        figures |= {"rate": counted.replies / counted.seconds, "p99_ms": counted.p99_ms}
        return figures | {"requests": counted.replies + counted.failed, "failed": counted.failed}

    def _middle(self, one: Running, seconds: int) -> tuple[Counted, dict[str, float]]:
        """Measure in the middle of a load, when all connections stand."""
        with loading("wrk", self.ask, one.port, seconds, self.load_cores) as load:
            time.sleep(_SETTLED_S)
            before, begun = Seen.of(one.pid), time.perf_counter()
            time.sleep(seconds - _SETTLED_S - _TAIL_S)
            after, took = Seen.of(one.pid), time.perf_counter() - begun
            counted = finished("wrk", load, count_failures_of_wrk)
        figures = after.since(before, counted.replies / counted.seconds * took)
        return counted, figures | {"threads": len(after.switches)}

    def _whole(self, one: Running, seconds: int) -> tuple[Counted, dict[str, float]]:
        before = Seen.of(one.pid)
        with loading("ab", self.ask, one.port, seconds, self.load_cores) as load:
            counted = finished("ab", load)
        return counted, Seen.of(one.pid).since(before, counted.replies)


class Seen(NamedTuple):
    """What a process and its children have used: seconds, and context switches of each thread."""

    processor: float
    switches: dict[str, int]

    @classmethod
    def of(cls, pid: int) -> "Seen":
        """Look now."""
        switches = {}
        for one in family(pid):
            with suppress(OSError):
                for task in Path(f"/proc/{one}/task").iterdir():
                    with suppress(OSError):
                        found = _SWITCHES.findall((task / "status").read_text())
                        switches[str(task)] = sum(map(int, found))
        return cls(processor_seconds(pid), switches)

    def since(self, before: "Seen", pages: float) -> dict[str, float]:
        """Return what was used for each page since then.

        A thread that has ended took its switches with it: then these are not known.
        """
        figures = {"us": (self.processor - before.processor) / pages * 1e6}
        if before.switches.keys() <= self.switches.keys():
            more = sum(self.switches.values()) - sum(before.switches.values())
            figures["switches"] = more / pages
        return figures


@contextmanager
def silent_clients(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Connect so many clients that send nothing."""
    with ExitStack() as stack, select.epoll() as connecting:
        clients = [stack.enter_context(socket.socket()) for _ in range(number)]
        for client, address in zip(clients, cycle(_ADDRESSES), strict=False):
            client.setblocking(False)
            client.bind((address, 0))
            client.connect_ex((HOST, port))
            connecting.register(client, select.EPOLLOUT | select.EPOLLONESHOT)
        deadline, connected = time.monotonic() + _CONNECTING_S, 0
        while connected < number and (left := deadline - time.monotonic()) > 0:
            connected += len(connecting.poll(left))
        time.sleep(_SETTLED_S if number else 0)
        yield clients


def count_open(clients: list[socket.socket]) -> int:
    """Return how many silent clients the server has neither answered nor closed."""
    with select.epoll() as poll:
        for client in clients:
            poll.register(client, select.EPOLLIN | select.EPOLLRDHUP)
        return len(clients) - len(poll.poll(0, len(clients)))
