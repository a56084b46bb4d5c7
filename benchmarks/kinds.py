"""How a work is measured: by a load, by servers that restart, or by the load generator itself."""

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks.idle import MIB
from benchmarks.loads import TOOLS, Ask, check, finished, load, loading, whole_replies
from benchmarks.processes import processor_seconds, resident
from benchmarks.servers import LOAD_CORE, SERVER_CORE, SERVERS, Running, Server, running
from benchmarks.site import MB

Probe = Callable[[], dict[str, float]]
"""One round with one server: figures by name."""


class Kind(Protocol):
    """How a work is measured."""

    def ready(self, name: str, root: Path, seconds: int) -> AbstractContextManager[Probe]:
        """Do what is to be done before one contender's rounds, and undo it afterwards."""

    def command(self, name: str, seconds: int) -> str:
        """Return the command of a contender, a server or a load generator."""

    def load_command(self, seconds: int) -> str:
        """Return the command that makes the load, for readers to repeat; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A load for some seconds on a server that runs through all the rounds."""

    ask: Ask
    tool: str = "wrk"
    server_cores: str = SERVER_CORE
    load_cores: str = LOAD_CORE

    @contextmanager
    def ready(self, name: str, root: Path, seconds: int) -> Iterator[Probe]:
        """Start the server, compare its replies with the files, and warm it up."""
        with running(SERVERS[name], root, self.server_cores) as one:
            check(self.ask, one.port, root)
            load(self.tool, self.ask, one.port, seconds, self.load_cores)
            yield partial(self._round, one, (root / self.ask.target[1:]).stat().st_size, seconds)

    def command(self, name: str, seconds: int) -> str:  # noqa: ARG002 - runs until it is ended
        """Return the command of a server."""
        return SERVERS[name].command

    def load_command(self, seconds: int) -> str:
        """Return the command of the load generator."""
        return command_of(self.tool, self.ask, seconds)

    def _round(self, one: Running, body: int, seconds: int) -> dict[str, float]:
        if one.log.exists():
            os.truncate(one.log, 0)
        before = processor_seconds(one.pid)
        counted = load(self.tool, self.ask, one.port, seconds, self.load_cores)
        used = processor_seconds(one.pid) - before
        replies = whole_replies(counted, body)
        found = {"us": used / replies * 1e6, "rate": replies / counted.seconds}
        if counted.p99_ms:  # wrk says 0 where it does not know, as with pipelined requests
            found["p99_ms"] = counted.p99_ms
        if one.log.exists():
            found["logged"] = lines(one.log) / counted.replies
        return found


def lines(log: Path) -> int:
    """Return how many lines a log has, once it has stopped growing."""
    size = -1
    while size != (size := log.stat().st_size):
        time.sleep(1.5)  # nginx may delay lines for a second
    with log.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(partial(file.read, MB), b""))


@dataclass(frozen=True, slots=True)
class Anew:
    """A measurement that restarts the server itself in each round.

    missing: returns what is missing to measure it here, or None.
    """

    measure: Callable[[Server, Path, int], dict[str, float]]
    missing: Callable[[], str | None] = lambda: None

    @contextmanager
    def ready(self, name: str, root: Path, seconds: int) -> Iterator[Probe]:
        """Prepare nothing."""
        yield partial(self.measure, SERVERS[name], root, seconds)

    def command(self, name: str, seconds: int) -> str:  # noqa: ARG002 - runs until it is ended
        """Return the command of a server."""
        return SERVERS[name].command

    def load_command(self, seconds: int) -> str:  # noqa: ARG002 - there is none
        """Return nothing."""
        return ""


@dataclass(frozen=True, slots=True)
class Loaders:
    """The same server for all; the load generators are measured."""

    server: str
    ask: Ask

    @contextmanager
    def ready(self, name: str, root: Path, seconds: int) -> Iterator[Probe]:
        """Start a server for this load generator alone, and warm it up."""
        with running(SERVERS[self.server], root) as one:
            check(self.ask, one.port, root)
            load("wrk", self.ask, one.port, 1)
            yield partial(self._round, name, one, seconds)

    def command(self, name: str, seconds: int) -> str:
        """Return the command of a load generator."""
        return command_of(name, self.ask, seconds + 2)

    def load_command(self, seconds: int) -> str:  # noqa: ARG002 - there is none
        """Return nothing."""
        return ""

    def _round(self, tool: str, one: Running, seconds: int) -> dict[str, float]:
        # Start and report are not part of a request's cost: the processor's clock is read in the
        # middle of the load.
        with loading(tool, self.ask, one.port, seconds + 2) as process:
            time.sleep(1.5)
            begun, used = time.perf_counter(), processor_seconds(process.pid)
            time.sleep(seconds)
            share = processor_seconds(process.pid) - used
            share /= time.perf_counter() - begun
            held = resident(process.pid) / MIB
            counted = finished(tool, process)
        rate = counted.replies / counted.seconds
        found = {"client_us": share / rate * 1e6, "rate": rate, "client_mib": held}
        return found | ({"p99_ms": counted.p99_ms} if counted.p99_ms else {})


def command_of(tool: str, ask: Ask, seconds: int) -> str:
    """Return the command line of a load generator, for readers to repeat."""
    words = TOOLS[tool].words(ask, ask.url("PORT"), seconds)
    return shlex.join(words).removesuffix(" --")
