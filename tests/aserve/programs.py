"""aserve as a program, in a process of its own that is forked and not started."""

import atexit
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aserve
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, find_model
from tests.fork_server import BlockingProgram, ForkServer, fork_server

_at_end = ExitStack()


@cache
def _server() -> ForkServer:
    return _at_end.enter_context(fork_server("aserve", "--port", "none"))


def start(*arguments: object, stdout: int | None = None, **options: object) -> BlockingProgram:
    """Start `aserve`. stdout: its standard output, None for a pipe."""
    program = {"module": "aserve", "arguments": list(map(str, arguments)), **options}
    return _server().start_blocking(program, stdout)


class Running(NamedTuple):
    """A program that serves."""

    url: str


def serve(root: Path, **settings: Any) -> "AbstractContextManager[aserve.Server | Running]":
    """Serve until a block ends: in this process, or in one of its own where that is needed."""
    info = find_model(
        settings.get("model", DEFAULT), by_the_book=settings.get("by_the_book", False)
    )
    return _serve(root, **settings) if info.needs_main_thread else aserve.Server(root, **settings)


@contextmanager
def _serve(
    root: Path, model: str, *, by_the_book: bool, limits: Limits | None = None, grace: float = 8
) -> Iterator[Running]:
    """Serve in a process of its own. grace: at least how long it has to stop."""
    options = ["--port", 0, "--host", "127.0.0.1", "--model", model]
    options += ["--by-the-book"] if by_the_book else []
    options += [f"--limit=max-connections={limits.max_connections}"] if limits else []
    program = start(root, *options)
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        yield Running(banner[1].split()[1])
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(grace)
        assert program.returncode == 0, errors
    finally:
        program.close()


def close() -> None:
    _at_end.close()


atexit.register(close)
