"""Servers that are stopped while others are measured.

One that polls would take the core from the others even without requests.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.loads import Ask, check, fetch
from benchmarks.models.contenders import contenders
from benchmarks.processes import NoMeasurement, family
from benchmarks.servers import SERVER_CORE, Running, running


@contextmanager
def paused(
    name: str, ask: Ask, root: Path, cores: str = SERVER_CORE, *, slow: bool = False
) -> Iterator[Running]:
    """Start a contender, compare its response with the file, and stop it until it is measured."""
    contender = contenders()[name]
    if contender.unavailable:
        raise NoMeasurement(contender.unavailable)
    with running(contender.server(name, slow=slow), root, cores) as one:
        check_page(ask, one.port, root)
        _send(one, signal.SIGSTOP)
        try:
            yield one
        finally:
            _send(one, signal.SIGCONT)  # so that it can be ended


@contextmanager
def awake(one: Running) -> Iterator[None]:
    """Let a server run for as long as it is measured."""
    _send(one, signal.SIGCONT)
    try:
        yield
    finally:
        _send(one, signal.SIGSTOP)


def _send(one: Running, number: signal.Signals) -> None:
    for pid in family(one.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def check_page(ask: Ask, port: int, root: Path) -> None:
    """Raise NoMeasurement unless a server's response is the expected one."""
    if not ask.target.endswith("/"):
        check(ask, port, root)
        return
    status, body = fetch(port, ask.target, ask.headers)
    if status != 200:
        raise NoMeasurement(f"it answers {ask.target} with {status}")
    for file in (root / ask.target[1:]).iterdir():
        if file.name.encode() not in body:
            raise NoMeasurement(f"its page of {ask.target} does not name {file.name}")
