"""aserve as a program, in a process of its own that is forked and not started."""

import atexit
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aserve
from aserve.http1.limits import Limits
from aserve.transport.registry import DEFAULT, ModelInfo, find_model
from tests.fork_server import BlockingProgram, ForkServer, fork_server

_at_end = ExitStack()
_starting = threading.Lock()  # several threads of a test may be the first


def _server() -> ForkServer:
    with _starting:
        return _started_server()


@cache
def _started_server() -> ForkServer:
    return _at_end.enter_context(fork_server("aserve", "--port", "none"))


def start(
    *arguments: object,
    stdin: int = 0,
    stdout: int | None = None,
    stderr: int | None = None,
    **options: object,
) -> BlockingProgram:
    """Start `aserve`. stdout, stderr: None for a pipe. options: see fork_server._run."""
    program = {"module": "aserve", "arguments": list(map(str, arguments)), **options}
    return _server().start_blocking(program, stdin, stdout, stderr)


def start_code(
    code: str,
    *arguments: object,
    stdin: int = 0,
    stdout: int | None = None,
    stderr: int | None = None,
    **options: object,
) -> BlockingProgram:
    """Start a program that is this code, in a process that has imported aserve."""
    program = {"code": code, "arguments": list(map(str, arguments)), **options}
    return _server().start_blocking(program, stdin, stdout, stderr)


class Running(NamedTuple):
    """A program that serves."""

    url: str


def serve(
    root: Path | Mapping[str, Path], **settings: Any
) -> "AbstractContextManager[aserve.Server | Running]":
    """Serve until a block ends: in this process, or as a program where the model needs that."""
    info = find_model(
        settings.get("model", DEFAULT), by_the_book=settings.get("by_the_book", False)
    )
    is_program = info.needs_main_thread or info.needs_processes
    return _serve(root, info, **settings) if is_program else aserve.Server(root, **settings)


_NUMBERS = frozenset({"max_upload", "quota", "min_free", "bandwidth"})
"""Settings whose options take the same numbers."""

_NETWORKS = frozenset({"deny", "proxy_trust"})
"""Settings whose options are repeated."""
_TEXTS = frozenset({"rate"})
"""Settings whose options take the same text."""

# Without a grace period that could be over on a slow machine.
_PROGRAM = """
from functools import partial
from aserve.__main__ import main
from aserve.config import configuration

configuration.Settings = partial(configuration.Settings, grace=3600)
main()
"""


@contextmanager
def _serve(
    root: Path | Mapping[str, Path],
    info: ModelInfo,
    *,
    model: str,
    by_the_book: bool = False,
    limits: Limits | None = None,
    write: tuple[str, ...] = (),
    dav: bool = False,
    **others: Any,
) -> Iterator[Running]:
    """Run the program, with two workers if they share a socket."""
    options = [
        f"--limit={field.name.replace('_', '-')}={value}"
        for field in fields(Limits)
        if limits and (value := getattr(limits, field.name)) != field.default
    ]
    options += [f"--write={area}" for area in write]
    given = {name: others[name] for name in _NUMBERS & others.keys()}
    options += ["--proxy-protocol"] if others.get("proxy_protocol") else []
    options += [f"--{_option(name)}={_size(value)}" for name, value in given.items()]
    options += [f"--{name}={others[name]}" for name in _TEXTS & others.keys()]
    options += ["--workers=2"] if info.shares_listeners else []
    options += ["--by-the-book"] if by_the_book else []
    options += ["--dav"] if dav else []
    for name in _NETWORKS & others.keys():
        options += [f"--{_option(name)}={network}" for network in others[name]]
    options += [f"--auth={login}" for login in others.get("auth", ())]
    options += [f"--share={others['share']}"] if "share" in others else []
    paths = [root] if isinstance(root, Path) else [f"{name}={path}" for name, path in root.items()]
    address = ("--port=0", "--host=127.0.0.1")
    program = start_code(_PROGRAM, *paths, *address, f"--model={model}", *options)
    try:
        banner = [program.stderr.readline() for _ in range(4)]
        yield Running(banner[1].split()[1])
        program.terminate()
        _, errors = program.communicate(60)
        assert program.returncode == 0, errors
    finally:
        program.close()


def _option(setting: str) -> str:
    return setting.replace("_", "-")


def _size(number: int) -> str:
    """Return a number as the command line takes it, which has no room for long ones."""
    return f"{number >> 30}G" if number >= 1 << 30 else str(number)


def close() -> None:
    _at_end.close()


atexit.register(close)
